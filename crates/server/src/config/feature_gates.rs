//! Feature gates: switches for what etcd calls alpha and beta.
//!
//! Names, stages and defaults are etcd's. A gate whose feature does not exist yet may only be set to its
//! default.

/// A gate as etcd defines it.
struct Gate {
    name: &'static str,
    stage: &'static str,
    is_on: bool,
    /// Whether a client of a lone member sees no difference when the gate is switched.
    is_free: bool,
}

/// All gates by name; the two groups first.
const GATES: &[Gate] = &[
    gate("AllAlpha", ALPHA, false, true),
    gate("AllBeta", BETA, false, true),
    gate("CompactHashCheck", ALPHA, false, true),
    gate("FastLeaseKeepAlive", BETA, true, true),
    gate("InitialCorruptCheck", ALPHA, false, true),
    gate("LeaseCheckpoint", ALPHA, false, false),
    gate("LeaseCheckpointPersist", ALPHA, false, false),
    gate("PriorityRequest", ALPHA, false, true),
    gate("SetMemberLocalAddr", ALPHA, false, true),
    gate("StopGRPCServiceOnDefrag", ALPHA, false, true),
    gate("TxnModeWriteWithSharedBuffer", BETA, true, true),
];

const ALPHA: &str = "ALPHA";
const BETA: &str = "BETA";

const fn gate(name: &'static str, stage: &'static str, is_on: bool, is_free: bool) -> Gate {
    Gate { name, stage, is_on, is_free }
}

/// The position of each gate, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureGates(Vec<bool>);

impl Default for FeatureGates {
    fn default() -> Self {
        FeatureGates(GATES.iter().map(|gate| gate.is_on).collect())
    }
}

impl FeatureGates {
    /// Reads `Name=true,Name=false`. A group sets its members, except those that are named themselves. The
    /// error is etcd's text.
    pub(crate) fn parse(text: &str) -> Result<FeatureGates, String> {
        let mut gates = FeatureGates::default();
        let mut named = [false; GATES.len()];
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (name.trim(), value.trim());
            if !pair.contains('=') {
                return Err(format!("missing bool value for {name}"));
            }
            let value = super::value::parse_bool(value).map_err(|_| {
                format!("invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax")
            })?;
            let at = position(name).ok_or_else(|| format!("unrecognized feature gate: {name}"))?;
            (gates.0[at], named[at]) = (value, true);
        }
        for (group, stage) in [("AllAlpha", ALPHA), ("AllBeta", BETA)] {
            let group = position(group).expect("the groups are gates");
            if named[group] {
                for (at, _) in GATES.iter().enumerate().filter(|(_, gate)| gate.stage == stage) {
                    gates.0[at] = if named[at] { gates.0[at] } else { gates.0[group] };
                }
            }
        }
        Ok(gates)
    }

    /// Whether the gate called `name` is on. Panics if there is none.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.0[position(name).expect("a gate of the table")]
    }

    /// The first gate that is not in its default position although its feature does not exist yet.
    pub(crate) fn first_unsupported(&self) -> Option<&'static str> {
        let unsupported = |(gate, is_on): &(&Gate, &bool)| !gate.is_free && gate.is_on != **is_on;
        GATES.iter().zip(&self.0).find(unsupported).map(|(gate, _)| gate.name)
    }

    /// Name, stage and position of each gate.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        GATES.iter().zip(&self.0).map(|(gate, &is_on)| (gate.name, gate.stage, is_on))
    }
}

fn position(name: &str) -> Option<usize> {
    GATES.iter().position(|gate| gate.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_texts_of_etcd() {
        for (text, error) in [
            ("foo=true", "unrecognized feature gate: foo"),
            ("AllAlpha", "missing bool value for AllAlpha"),
            (
                "AllAlpha=x",
                "invalid value of AllAlpha=x, err: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(FeatureGates::parse(text), Err(error.to_owned()));
        }
    }

    #[test]
    fn a_gate_named_by_itself_wins_over_its_group() {
        let gates = FeatureGates::parse("CompactHashCheck=false,AllAlpha=true").unwrap();
        assert!(gates.is_on("AllAlpha") && gates.is_on("LeaseCheckpoint"));
        assert!(!gates.is_on("CompactHashCheck"));
        assert!(gates.is_on("FastLeaseKeepAlive"), "it is of the other stage");
    }

    #[test]
    fn only_gates_that_would_do_something_are_unsupported() {
        assert_eq!(
            FeatureGates::parse("PriorityRequest=true,FastLeaseKeepAlive=false").unwrap().first_unsupported(),
            None
        );
        for text in
            ["InitialCorruptCheck=true", "CompactHashCheck=true", "AllAlpha=true,LeaseCheckpoint=false"]
        {
            let gates = FeatureGates::parse(&format!("{text},LeaseCheckpointPersist=false")).unwrap();
            assert_eq!(gates.first_unsupported(), None, "{text}");
        }
        assert_eq!(
            FeatureGates::parse("AllAlpha=true").unwrap().first_unsupported(),
            Some("LeaseCheckpoint")
        );
        assert_eq!(FeatureGates::parse("").unwrap(), FeatureGates::default());
    }
}
