//! Durations and sizes as operators write them.

use std::time::Duration;

use anyhow::{Context, bail};

fn split(text: &str) -> anyhow::Result<(u64, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits
        .parse()
        .with_context(|| format!("{text:?} does not begin with a number"))?;
    Ok((number, unit))
}

/// A duration such as `500ms`, `30s` or `2m`; a bare number is seconds.
pub fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = split(text)?;
    Ok(match unit {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" | "min" => Duration::from_secs(number.checked_mul(60).context("too long")?),
        _ => bail!("unknown unit {unit:?}; use ms, s or m"),
    })
}

/// A size such as `64K` or `8M`; a bare number is bytes.
pub fn parse_bytes(text: &str) -> anyhow::Result<usize> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => bail!("unknown unit {unit:?}; use K, M or G"),
    };
    let bytes = number.checked_mul(factor).context("too large")?;
    usize::try_from(bytes).context("too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(parse_duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse_duration("7").unwrap(), Duration::from_secs(7));
        assert_eq!(parse_bytes("8M").unwrap(), 8 << 20);
        assert_eq!(parse_bytes("12").unwrap(), 12);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "s",
            "-1s",
            "1h",
            "1.5s",
            "99999999999999999999s",
            "400000000000000000m",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "M", "1X", "-1", "99999999999G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
