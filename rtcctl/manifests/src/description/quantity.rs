//! Amounts as Kubernetes writes them, of which two can be compared.

/// Thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(pub u64);

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(pub u64);

impl Cpu {
    /// `250m`, `2`, `0.5`. `None` where it is no amount, or none at all.
    pub fn parse(text: &str) -> Option<Self> {
        let milli = match text.strip_suffix('m') {
            Some(number) => number.parse::<u64>().ok()?,
            None => thousandths(text)?,
        };
        (milli > 0).then_some(Self(milli))
    }
}

/// A decimal number with at most three places.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

impl Memory {
    /// `256Mi`, `1Gi`, `500M`, bytes. `None` where it is no amount, or none at all.
    pub fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 8] = [
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
            ("Ti", 1 << 40),
            ("k", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("T", 1_000_000_000_000),
        ];
        let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        let (number, factor) = unit.unwrap_or((text, 1));
        let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
        (bytes > 0).then_some(Self(bytes))
    }
}
