//! What the program prints about itself: usage, help, version.

use std::fmt::Write;

use super::table::FLAGS;
use crate::flags::Support;

/// The etcd release whose behaviour this server has.
pub const ETCD_VERSION: &str = "3.7.1";

/// The short text that is printed with a refused command line.
pub fn usage() -> String {
    "Usage:\n\n  etcd [flags]\n    Start an etcd server.\n\n  etcd --version\n    Show the version of etcd.\n\n  \
     etcd -h | --help\n    Show the help information about etcd.\n\n  \
     etcd --config-file\n    Path to the server configuration file. Note that if a configuration file is \
     provided, other command line flags and environment variables will be ignored.\n    Durations are \
     whole nanoseconds there, 600000000000 for 10m.\n"
        .to_owned()
}

/// All flags with their defaults, grouped by how this version treats them.
pub fn help() -> String {
    let mut text = String::from("Flags:\n\n");
    for flag in FLAGS {
        if let Support::Works(help) = flag.support {
            writeln!(text, "  --{} '{}'\n    {help}", flag.name, flag.default)
                .expect("a String takes any text");
        }
    }
    text.push_str("\nAccepted, without effect here:\n\n");
    for flag in FLAGS {
        if let Support::NoEffect(why) = flag.support {
            writeln!(text, "  --{} '{}'\n    {why}", flag.name, flag.default)
                .expect("a String takes any text");
        }
    }
    text.push_str("\nNot supported by this version yet, other than with their defaults:\n\n");
    for flag in FLAGS.iter().filter(|flag| matches!(flag.support, Support::NotYet | Support::NotYetForNew)) {
        writeln!(text, "  --{} '{}'", flag.name, flag.default).expect("a String takes any text");
    }
    text
}

/// The four lines of `--version`. Scripts read the first; the others name what replaces Go here.
pub fn version() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let build = concat!("ferretcd ", env!("CARGO_PKG_VERSION"));
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: {build}\nGo Version: none (Rust)\nGo OS/Arch: {}/{arch}\n",
        std::env::consts::OS
    )
}
