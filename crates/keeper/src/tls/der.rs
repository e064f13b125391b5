//! A reader of DER (ITU-T X.690), as much of it as certificates' names and key stores need. It borrows, and never trusts a length.

/// Tags.
pub(super) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    pub(crate) const CONTEXT_0: u8 = 0xa0;
}

/// A value with its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    /// The tag.
    pub(super) tag: u8,
    /// What is in it.
    pub(super) content: &'a [u8],
    /// All of it, with tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Value<'a> {
    /// The values in it.
    pub(super) fn inside(self) -> Der<'a> {
        Der(self.content)
    }
}

/// Values one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// Whether there are no more.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next value.
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        let bytes = self.0;
        let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
        let (length, header) = match first {
            0..=0x7f => (usize::from(first), 2),
            0x81..=0x84 => {
                let octets = bytes.get(2..2 + usize::from(first & 0x7f))?;
                let length = octets.iter().fold(0usize, |length, octet| length << 8 | usize::from(*octet));
                (length, 2 + octets.len())
            }
            // Lengths without a number (BER), and those beyond four octets.
            0x80 | 0x85.. => return None,
        };
        let end = header.checked_add(length)?;
        let whole = bytes.get(..end)?;
        self.0 = bytes.get(end..)?;
        Some(Value { tag, content: whole.get(header..)?, whole })
    }

    /// The next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        self.value().filter(|value| value.tag == tag)
    }

    /// The next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Value<'a>> {
        match self.0.first() == Some(&tag) {
            true => self.value(),
            false => None,
        }
    }

    /// What is in the next value, a sequence.
    pub(super) fn sequence(&mut self) -> Option<Der<'a>> {
        self.expect(tag::SEQUENCE).map(Value::inside)
    }

    /// A small number that is not negative.
    pub(super) fn number(&mut self) -> Option<u32> {
        let content = self.expect(tag::INTEGER)?.content;
        let positive = content.first().is_some_and(|first| *first < 0x80) && content.len() <= 5;
        positive
            .then(|| content.iter().fold(0u64, |number, octet| number << 8 | u64::from(*octet)))?
            .try_into()
            .ok()
    }
}

/// An object identifier in its dotted form.
pub(super) fn dotted(oid: &[u8]) -> Option<String> {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0u64;
    for octet in oid {
        arc = arc.checked_mul(128)? | u64::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            if arcs.is_empty() {
                let root = (arc / 40).min(2);
                arcs.push(root);
                arc -= root * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    let complete = oid.last().is_some_and(|octet| octet & 0x80 == 0);
    complete.then(|| arcs.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
}

/// The names on a certificate and its public key (a bit string), encoded.
pub(super) struct Names<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) public_key: &'a [u8],
}

/// The names on a certificate (DER); none if it cannot be read.
pub(super) fn names_of(certificate: &[u8]) -> Option<Names<'_>> {
    let mut fields = Der(certificate).sequence()?.sequence()?;
    fields.optional(tag::CONTEXT_0);
    fields.expect(tag::INTEGER)?;
    let _signature = fields.sequence()?;
    let issuer = fields.sequence()?.0;
    let _validity = fields.sequence()?;
    let subject = fields.sequence()?.0;
    let mut key = fields.sequence()?;
    let _algorithm = key.sequence()?;
    Some(Names { issuer, subject, public_key: key.expect(tag::BIT_STRING)?.whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_lengths() {
        let bytes = [0x30, 0x06, 0x02, 0x01, 0x05, 0x04, 0x01, 0x61, 0x05, 0x00];
        let mut der = Der(&bytes);
        let mut inside = der.sequence().unwrap();
        assert_eq!(inside.number(), Some(5));
        assert_eq!(inside.expect(tag::OCTET_STRING).unwrap().content, b"a");
        assert!(inside.is_empty());
        assert_eq!(der.value().unwrap().whole, [5, 0]);
        for bad in [
            &[0x30][..],
            &[0x30, 0x80],
            &[0x30, 0x02, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x82, 0x01],
        ] {
            assert_eq!(Der(bad).value(), None, "{bad:?}");
        }
    }

    #[test]
    fn identifiers_are_dotted() {
        assert_eq!(dotted(&[0x55, 4, 3]).as_deref(), Some("2.5.4.3"));
        assert_eq!(
            dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]).as_deref(),
            Some("1.2.840.113549.1.9.1")
        );
        assert_eq!(dotted(&[0x88, 0x37, 3]).as_deref(), Some("2.999.3"));
        assert_eq!(dotted(&[0x86]), None);
        assert_eq!(dotted(&[0xff; 12]), None);
    }
}
