//! Which arguments of `watch` are keys, and which a program.

use bytes::Bytes;

use crate::env;
use crate::failure::Failure;
use crate::text::quote;

pub(super) const BAD_NUMBER: &str = "bad number of arguments";

/// The key, and the end of the range if there is one, that the environment names.
pub(super) fn from_environment() -> Result<Vec<Bytes>, Failure> {
    let [key, end] = ["ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"].map(env);
    if key.is_empty() && !end.is_empty() {
        return Err(Failure::bad_args(format!(
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={}",
            quote(end)
        )));
    }
    Ok([key, end].into_iter().filter(|text| !text.is_empty()).map(Bytes::from).collect())
}

/// Splits `args` into keys and the program after `--`, which was before argument `dash`. Keys that the
/// environment has `named` replace those of the command line.
pub(super) fn split(
    args: &[Bytes],
    dash: Option<usize>,
    named: Vec<Bytes>,
) -> Result<(Vec<Bytes>, Vec<Bytes>), Failure> {
    let (keys, program) = args.split_at(dash.unwrap_or(args.len()));
    if dash.is_some() && program.is_empty() {
        return Err(Failure::bad_args("bad number of arguments (found separator --, but no commands)"));
    }
    match (keys, named.is_empty()) {
        ([_, ..], false) => {
            Err(Failure::bad_args("bad number of arguments (found conflicting environment key)"))
        }
        ([], false) => Ok((named, program.to_vec())),
        ([], true) => Err(Failure::bad_args(BAD_NUMBER)),
        (keys, true) => Ok((keys.to_vec(), program.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Bytes> {
        text.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn refusal(args: &str, dash: Option<usize>, named: &str) -> String {
        format!("{:?}", split(&words(args), dash, words(named)).unwrap_err())
    }

    #[test]
    fn keys_come_before_the_dashes_or_from_the_environment() {
        let (keys, program) = split(&words("k end echo hi"), Some(2), Vec::new()).unwrap();
        assert_eq!((keys, program), (words("k end"), words("echo hi")));
        let (keys, program) = split(&words("echo hi"), Some(0), words("k")).unwrap();
        assert_eq!((keys, program), (words("k"), words("echo hi")));
    }

    #[test]
    fn keys_from_both_places_are_refused() {
        assert!(refusal("k", None, "k").contains("conflicting environment key"));
        assert!(refusal("", None, "").contains("bad number of arguments"));
        assert!(refusal("k", Some(1), "").contains("found separator --, but no commands"));
    }
}
