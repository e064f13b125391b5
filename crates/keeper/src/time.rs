//! Dates as text.

/// A time in the form of Java's `Date.toString`, in UTC.
pub(crate) fn date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let weekday = DAYS[days.rem_euclid(7) as usize];
    // The civil calendar in eras of 400 years that begin in March.
    let day = days + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    format!(
        "{weekday} {} {day_of_month:02} {:02}:{:02}:{:02} UTC {year}",
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_javas() {
        assert_eq!(super::date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(super::date(951_825_599_999), "Tue Feb 29 11:59:59 UTC 2000");
        assert_eq!(super::date(1_795_539_448_025), "Tue Nov 24 16:57:28 UTC 2026");
        assert_eq!(super::date(-1), "Wed Dec 31 23:59:59 UTC 1969");
    }
}
