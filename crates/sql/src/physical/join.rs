//! Which join a join is: of windows, within an interval of event time, or a regular one.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use streamkeeper_connectors::schema::TypeKind;

use crate::expr::ScalarExpr;
use crate::operators::spec::{JoinKind, WindowProperty};
use crate::plan::{Node, Plan};

/// A join with its condition taken apart. Positions of the right side count from its own first column.
#[derive(Debug, Clone)]
pub(crate) struct Classified {
    pub(crate) strategy: Strategy,
    pub(crate) left_keys: Vec<usize>,
    pub(crate) right_keys: Vec<usize>,
    /// What else must hold, over left ++ right.
    pub(crate) residual: Vec<ScalarExpr>,
}

/// How rows find their partners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    Window { left: (usize, usize), right: (usize, usize) },
    Interval { left_time: usize, right_time: usize, lower_ms: i64, upper_ms: i64 },
    Regular,
}

/// Whether the join never takes a row back.
pub(crate) fn is_append_join(plan: &Plan) -> bool {
    matches!(&plan.node, Node::Join { .. }) && classify(plan).is_some_and(|c| c.strategy != Strategy::Regular)
}

/// Takes the condition of a join apart; `None` for another node.
pub(crate) fn classify(plan: &Plan) -> Option<Classified> {
    let Node::Join { left, right, condition, kind } = &plan.node else { return None };
    let width = left.schema.len();
    let (equal, residual) = equalities(condition, width);
    let (left_keys, right_keys): (Vec<usize>, Vec<usize>) = equal.into_iter().unzip();
    if let Some(classified) = window(left, right, &left_keys, &right_keys, &residual) {
        return Some(classified);
    }
    let interval = interval(left, right, width, &residual).filter(|_| {
        !matches!(kind, JoinKind::Semi | JoinKind::Anti)
            && !crate::plan::changelog::is_changelog(left)
            && !crate::plan::changelog::is_changelog(right)
    });
    Some(match interval {
        Some((strategy, residual)) => Classified { strategy, left_keys, right_keys, residual },
        None => equal_times(left, right, left_keys, right_keys, residual),
    })
}

/// An equality of the two rowtimes bounds the interval to a point.
fn equal_times(
    left: &Plan,
    right: &Plan,
    left_keys: Vec<usize>,
    right_keys: Vec<usize>,
    residual: Vec<ScalarExpr>,
) -> Classified {
    let times = left_keys
        .iter()
        .zip(&right_keys)
        .position(|(l, r)| left.schema[*l].rowtime && right.schema[*r].rowtime);
    let strategy = match times {
        Some(at) => Strategy::Interval {
            left_time: left_keys[at],
            right_time: right_keys[at],
            lower_ms: 0,
            upper_ms: 0,
        },
        None => Strategy::Regular,
    };
    Classified { strategy, left_keys, right_keys, residual }
}

/// The equalities of a column of the left and one of the right, whose position counts from the right's first; and the other
/// conditions.
pub(crate) fn equalities(condition: &[ScalarExpr], width: usize) -> (Vec<(usize, usize)>, Vec<ScalarExpr>) {
    let (mut equal, mut others) = (Vec::new(), Vec::new());
    for conjunct in condition {
        match equality(conjunct, width) {
            Some(pair) => equal.push(pair),
            None => others.push(conjunct.clone()),
        }
    }
    (equal, others)
}

fn equality(expr: &ScalarExpr, width: usize) -> Option<(usize, usize)> {
    let ScalarExpr::Call { function: "=", args, .. } = expr else { return None };
    let [
        ScalarExpr::Column { index: a, data_type: ta, .. },
        ScalarExpr::Column { index: b, data_type: tb, .. },
    ] = args.as_slice()
    else {
        return None;
    };
    if ta.to_arrow() != tb.to_arrow() {
        return None;
    }
    match (*a < width, *b < width) {
        (true, false) => Some((*a, *b - width)),
        (false, true) => Some((*b, *a - width)),
        _ => None,
    }
}

fn window(
    left: &Plan,
    right: &Plan,
    left_keys: &[usize],
    right_keys: &[usize],
    residual: &[ScalarExpr],
) -> Option<Classified> {
    let find = |role: WindowProperty| {
        left_keys.iter().zip(right_keys).position(|(l, r)| {
            let (l, r) = (left.schema[*l].window, right.schema[*r].window);
            l.is_some_and(|(property, _)| property == role) && l == r
        })
    };
    let (start, end) = (find(WindowProperty::Start)?, find(WindowProperty::End)?);
    let others = |keys: &[usize]| {
        keys.iter().enumerate().filter(|(i, _)| *i != start && *i != end).map(|(_, k)| *k).collect()
    };
    Some(Classified {
        strategy: Strategy::Window {
            left: (left_keys[start], left_keys[end]),
            right: (right_keys[start], right_keys[end]),
        },
        left_keys: others(left_keys),
        right_keys: others(right_keys),
        residual: residual.to_vec(),
    })
}

/// Bounds of `left_time - right_time` from comparisons of the two rowtimes.
fn interval(
    left: &Plan,
    right: &Plan,
    width: usize,
    conditions: &[ScalarExpr],
) -> Option<(Strategy, Vec<ScalarExpr>)> {
    let is_rowtime = |i: usize| {
        if i < width { left.schema[i].rowtime } else { right.schema[i - width].rowtime }
    };
    let mut times: Option<(usize, usize)> = None;
    let (mut lower, mut upper) = (None::<i64>, None::<i64>);
    let mut residual = Vec::new();
    for condition in conditions {
        let Some((l, r, bound)) = time_bound(condition, width, &is_rowtime) else {
            residual.push(condition.clone());
            continue;
        };
        if times.is_some_and(|t| t != (l, r)) {
            residual.push(condition.clone());
            continue;
        }
        times = Some((l, r));
        match bound {
            Bound::AtLeast(ms) => lower = Some(lower.map_or(ms, |b| b.max(ms))),
            Bound::AtMost(ms) => upper = Some(upper.map_or(ms, |b| b.min(ms))),
        }
    }
    let ((left_time, right_time), lower_ms, upper_ms) = (times?, lower?, upper?);
    Some((Strategy::Interval { left_time, right_time, lower_ms, upper_ms }, residual))
}

enum Bound {
    AtLeast(i64),
    AtMost(i64),
}

/// `left.time + x <= right.time + y` as a bound of `left.time - right.time`.
fn time_bound(
    condition: &ScalarExpr,
    width: usize,
    is_rowtime: &dyn Fn(usize) -> bool,
) -> Option<(usize, usize, Bound)> {
    let ScalarExpr::Call { function, args, .. } = condition else { return None };
    let [a, b] = args.as_slice() else { return None };
    let ((a, a_offset), (b, b_offset)) = (shifted(a)?, shifted(b)?);
    if !is_rowtime(a) || !is_rowtime(b) || (a < width) == (b < width) {
        return None;
    }
    // a - b  <op>  b_offset - a_offset
    let limit = b_offset.checked_sub(a_offset)?;
    let bound = match *function {
        "<=" => Bound::AtMost(limit),
        "<" => Bound::AtMost(limit.checked_sub(1)?),
        ">=" => Bound::AtLeast(limit),
        ">" => Bound::AtLeast(limit.checked_add(1)?),
        _ => return None,
    };
    if a < width {
        return Some((a, b - width, bound));
    }
    let mirrored = match bound {
        Bound::AtMost(ms) => Bound::AtLeast(ms.checked_neg()?),
        Bound::AtLeast(ms) => Bound::AtMost(ms.checked_neg()?),
    };
    Some((b, a - width, mirrored))
}

/// A column plus a constant number of milliseconds.
fn shifted(expr: &ScalarExpr) -> Option<(usize, i64)> {
    match expr {
        ScalarExpr::Column { index, .. } => Some((*index, 0)),
        ScalarExpr::Cast { input, data_type, .. } => {
            let time = |k: &TypeKind| matches!(k, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_));
            let same_clock =
                std::mem::discriminant(&input.data_type().kind) == std::mem::discriminant(&data_type.kind);
            (time(&data_type.kind) && same_clock).then(|| shifted(input)).flatten()
        }
        ScalarExpr::Call { function: function @ ("+" | "-"), args, .. } => {
            let [a, b] = args.as_slice() else { return None };
            let (time, interval) = match (milliseconds(a), milliseconds(b)) {
                (None, Some(ms)) => (a, ms),
                (Some(ms), None) if *function == "+" => (b, ms),
                _ => return None,
            };
            let (column, offset) = shifted(time)?;
            let offset = if *function == "+" {
                offset.checked_add(interval)?
            } else {
                offset.checked_sub(interval)?
            };
            Some((column, offset))
        }
        _ => None,
    }
}

fn milliseconds(expr: &ScalarExpr) -> Option<i64> {
    match expr {
        ScalarExpr::Literal { value, data_type } if data_type.kind == TypeKind::IntervalDayTime => {
            let value = value.as_primitive::<Int64Type>();
            (value.len() == 1 && value.is_valid(0)).then(|| value.value(0))
        }
        _ => None,
    }
}
