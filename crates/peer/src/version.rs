//! Versions as members compare them: major and minor, the rest does not matter.

/// The first two numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinorVersion {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

impl MinorVersion {
    /// The oldest version of a cluster that this member can be part of.
    pub const MIN_CLUSTER: MinorVersion = MinorVersion { major: 3, minor: 0 };

    /// What a member that names no version has.
    pub const UNNAMED: MinorVersion = MinorVersion { major: 2, minor: 0 };

    /// Reads `3.7.1`, also with a suffix such as `-rc.0`; `None` if it is no version.
    pub fn parse(text: &str) -> Option<MinorVersion> {
        let core = text.split(['-', '+']).next()?;
        let mut parts = core.split('.');
        let mut number = || parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let (major, minor, patch) = (number()?, number()?, number()?);
        patch.parse::<u64>().ok()?;
        let version = MinorVersion { major: major.parse().ok()?, minor: minor.parse().ok()? };
        parts.next().is_none().then_some(version)
    }

    /// Whether a member of this version, which is older than this one, has streams: both kinds, or none.
    pub(crate) fn has_streams(self) -> bool {
        matches!(self, MinorVersion { major: 2, minor: 1..=3 } | MinorVersion { major: 3, minor: 0..=7 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_their_first_two_numbers() {
        let version = |text| MinorVersion::parse(text).unwrap();
        assert_eq!(version("3.7.1"), version("3.7.0-rc.0"));
        assert!(version("3.10.0") > version("3.9.9"));
        assert!(version("2.3.8") < MinorVersion::MIN_CLUSTER);
        for bad in
            ["", "3", "3.7", "3.7.x", "3.7.1.2", "v3.7.1", "3.-7.1", "3.7.99999999999999999999", "+3.7.1"]
        {
            assert_eq!(MinorVersion::parse(bad), None, "{bad}");
        }
    }
}
