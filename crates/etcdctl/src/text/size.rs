//! Sizes in bytes, written for people.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Writes a number of bytes in powers of a thousand, with one decimal below ten: `9.9 MB`, `20 kB`.
pub(crate) fn humanize(bytes: u64) -> String {
    let power = if bytes < 10 { 0 } else { bytes.ilog(1000) };
    let unit = UNITS[power as usize];
    if power == 0 {
        return format!("{bytes} {unit}");
    }
    let value = (bytes as f64 / 1000f64.powi(power as i32) * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_have_one_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (20_480, "20 kB"),
            (2_147_483_648, "2.1 GB"),
            (9_960_000, "10 MB"),
            (999_999, "1000 kB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(humanize(bytes), text);
        }
    }
}
