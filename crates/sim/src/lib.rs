//! The simulator: one member on a simulated disk, killed at every effect, restarted, and checked against a
//! model of etcd.
//!
//! ```text
//!   Plan ─▶ simulate ─▶ Report, or Failure with the last lines of the trace
//!              │
//!              ├─ workload   what clients ask for
//!              ├─ member     node, WAL writer and jobs, one small step at a time
//!              ├─ model      what etcd would answer
//!              ├─ leases     the deadline of each lease
//!              ├─ watchers   which events watching clients must get, over all restarts
//!              └─ checks     store and model compared
//! ```
//!
//! Everything is drawn from the seed of the plan: the same plan gives the same trace, step by step. There is
//! no clock, no thread and no file here.
//!
//! `docs/simulator.md` says what is simulated and what is not.

pub mod bugs;
mod checks;
mod cluster;
mod leases;
mod member;
mod model;
mod plan;
mod random;
mod report;
mod run;
mod trace;
mod watchers;
mod workload;

pub use cluster::{
    ClusterFault, ClusterPlan, ClusterReport, FaultSet, shrink, simulate_cluster, trace_cluster,
};
pub use plan::{Fault, Kill, Plan};
pub use report::{Failure, Report, panic_text};
pub use run::simulate;
