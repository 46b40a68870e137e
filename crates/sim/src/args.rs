//! The command line.

use std::ops::Range;

use sim::{ClusterPlan, FaultSet, Kill, Plan};

pub(crate) const USAGE: &str = "\
usage: sim [--seed N | --seeds A..B | --minutes M] [--ops N] [--every-effect | --kill-at N |
           --kill-process-at N] [--bug NAME]
       sim --bugs
       sim --cluster [--seed N | --seeds A..B | --minutes M] [--members N] [--faults LIST] [--ops N] [--bug NAME]
       sim --cluster --bugs

  --seed N         run one seed, and say what happened
  --seeds A..B     run the seeds from A up to but not including B
  --minutes M      run seeds from 0 on for so many minutes (1)
  --ops N          commands of each run; the seed decides without
  --every-effect   run each seed twice for every effect on the disk: power is lost there, or the process is killed
  --kill-at N      lose power at that effect only
  --kill-process-at N
                   kill the process at that effect only, and lose power after the next start
  --bug NAME       switch on a seeded bug; needs the feature seeded-bugs
  --cluster        run clusters, on all processors
  --members N      members of each cluster; the seed decides without
  --faults LIST    what goes wrong, separated by commas, or none; the seed decides without
  --bugs           look for every seeded bug until it is found; needs the feature seeded-bugs";

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    Seeds(Range<u64>),
    Minutes(u64),
    Bugs,
}

/// The options, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) work: Work,
    /// Commands of each run.
    pub(crate) commands: Option<u64>,
    /// Kill at every effect, one run each.
    pub(crate) is_sweep: bool,
    /// When the member ends, unless the seed decides.
    pub(crate) kill: Option<Kill>,
    pub(crate) bug: Option<String>,
    pub(crate) is_cluster: bool,
    /// Members of a cluster, and what goes wrong in it.
    pub(crate) members: Option<usize>,
    pub(crate) faults: Option<FaultSet>,
}

impl Args {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut parsed = Args {
            work: Work::Minutes(1),
            commands: None,
            is_sweep: false,
            kill: None,
            bug: None,
            is_cluster: false,
            members: None,
            faults: None,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
            match arg.as_str() {
                "--seed" => {
                    let seed = number(&value()?)?;
                    parsed.work = Work::Seeds(seed..seed + 1);
                }
                "--seeds" => parsed.work = Work::Seeds(range(&value()?)?),
                "--minutes" => parsed.work = Work::Minutes(number(&value()?)?),
                "--ops" => parsed.commands = Some(number(&value()?)?),
                "--every-effect" => parsed.is_sweep = true,
                "--kill-at" => parsed.kill = Some(Kill::AtEffect(number(&value()?)?)),
                "--kill-process-at" => parsed.kill = Some(Kill::ProcessAtEffect(number(&value()?)?)),
                "--bug" => parsed.bug = Some(value()?),
                "--bugs" => parsed.work = Work::Bugs,
                "--cluster" => parsed.is_cluster = true,
                "--members" => parsed.members = Some(members(&value()?)?),
                "--faults" => parsed.faults = Some(FaultSet::parse(&value()?)?),
                _ => return Err(format!("{arg}: no such option\n{USAGE}")),
            }
        }
        Ok(parsed)
    }

    /// The plan of a seed under these options.
    pub(crate) fn plan(&self, seed: u64) -> Plan {
        let plan = if self.is_sweep || self.kill.is_some() { Plan::short(seed) } else { Plan::new(seed) };
        let kill = self.kill.unwrap_or(plan.kill);
        Plan { commands: self.commands.unwrap_or(plan.commands), kill, ..plan }
    }

    /// The command line that repeats a run of `plan`.
    pub(crate) fn repeat(&self, plan: &Plan) -> String {
        let mut line = String::from("cargo run -p sim");
        if self.bug.is_some() {
            line += " --features seeded-bugs";
        }
        line += &format!(" -- --seed {}", plan.seed);
        match plan.kill {
            Kill::AtEffect(n) => line += &format!(" --kill-at {n}"),
            Kill::ProcessAtEffect(n) => line += &format!(" --kill-process-at {n}"),
            Kill::Never | Kill::AtRandom => {}
        }
        line += &self.commands.map_or(String::new(), |n| format!(" --ops {n}"));
        line += &self.bug.as_ref().map_or(String::new(), |bug| format!(" --bug {bug}"));
        line
    }
}

impl Args {
    /// The plan of a cluster's seed under these options.
    pub(crate) fn cluster_plan(&self, seed: u64) -> ClusterPlan {
        let plan = ClusterPlan::new(seed);
        ClusterPlan {
            members: self.members.unwrap_or(plan.members),
            operations: self.commands.unwrap_or(plan.operations),
            faults: self.faults.unwrap_or(plan.faults),
            ..plan
        }
    }

    /// The command line that repeats a cluster's run of `plan`.
    pub(crate) fn repeat_cluster(&self, plan: &ClusterPlan) -> String {
        let (features, bug) = match &self.bug {
            Some(bug) => (" --features seeded-bugs", format!(" --bug {bug}")),
            None => ("", String::new()),
        };
        let ClusterPlan { seed, members, operations, faults, .. } = plan;
        format!(
            "cargo run -p sim{features} -- --cluster --seed {seed} --members {members} --ops {operations} \
             --faults {faults}{bug}"
        )
    }
}

fn members(text: &str) -> Result<usize, String> {
    match number(text)? {
        n @ 1..=7 => Ok(n as usize),
        n => Err(format!("a cluster has 1 to 7 members, not {n}\n{USAGE}")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|e| format!("{text}: {e}\n{USAGE}"))
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or(format!("{text} is no range A..B\n{USAGE}"))?;
    Ok(number(from)?..number(to)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_options_it_runs_for_a_minute() {
        assert_eq!(parse("").unwrap().work, Work::Minutes(1));
    }

    #[test]
    fn one_seed_is_a_range_of_one() {
        assert_eq!(parse("--seed 7").unwrap().work, Work::Seeds(7..8));
        assert_eq!(parse("--seeds 3..9").unwrap().work, Work::Seeds(3..9));
    }

    #[test]
    fn a_repeated_run_has_the_same_plan() {
        for option in ["--kill-at 5", "--kill-process-at 5"] {
            let args = parse(&format!("--seeds 3..9 --ops 20 {option}")).unwrap();
            let plan = args.plan(4);
            let again = args.repeat(&plan);
            let again = parse(again.split_once(" -- ").unwrap().1).unwrap();
            assert_eq!(again.work, Work::Seeds(4..5));
            assert_eq!(format!("{:?}", again.plan(4)), format!("{plan:?}"));
        }
    }

    #[test]
    fn a_repeated_run_of_a_cluster_has_the_same_plan() {
        let args = parse("--cluster --seeds 3..9 --members 5 --ops 20 --faults blackout,partition").unwrap();
        for plan in [args.cluster_plan(4), parse("--cluster").unwrap().cluster_plan(4)] {
            let again = args.repeat_cluster(&plan);
            let again = parse(again.split_once(" -- ").unwrap().1).unwrap();
            assert_eq!(format!("{:?}", again.cluster_plan(4)), format!("{plan:?}"));
        }
    }

    #[test]
    fn bad_arguments_are_refused_with_the_usage() {
        for line in ["--seed", "--seed x", "--seeds 5", "--nonsense", "--members 8", "--members 0"] {
            assert!(parse(line).is_err_and(|message| message.ends_with(USAGE)), "{line}");
        }
    }
}
