//! The beginning of every command that talks to the cluster: environment, client and output format.

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Client, Config};

use crate::cli::{Flag, Values};
use crate::env;
use crate::failure::{ERROR, Failure};
use crate::print::{Answer, Printer};

/// The flags that any command takes.
pub(crate) const GLOBAL_FLAGS: [Flag; 21] = [
    Flag::list("endpoints", "127.0.0.1:2379", "gRPC endpoints"),
    Flag::bool("debug", "enable client-side debug logging"),
    Flag::text("write-out", "simple", "set the output format (fields, json, protobuf, simple, table)")
        .short('w'),
    Flag::bool("hex", "print byte strings as hex encoded strings"),
    Flag::duration("dial-timeout", "2s", "dial timeout for client connections"),
    Flag::duration("command-timeout", "5s", "timeout for short running command (excluding dial timeout)"),
    Flag::duration("keepalive-time", "2s", "keepalive time for client connections"),
    Flag::duration("keepalive-timeout", "6s", "keepalive timeout for client connections"),
    Flag::int(
        "max-request-bytes",
        "client-side request send limit in bytes (if 0, it defaults to 2.0 MiB (2 * 1024 * 1024).)",
    ),
    Flag::int(
        "max-recv-bytes",
        "client-side response receive limit in bytes (if 0, it defaults to \"math.MaxInt32\")",
    ),
    Flag::bool("insecure-transport", "disable transport security for client connections").on_by_default(),
    Flag::bool("insecure-discovery", "accept insecure SRV records describing cluster endpoints")
        .on_by_default(),
    Flag::bool(
        "insecure-skip-tls-verify",
        "skip server certificate verification (CAUTION: this option should be enabled only for testing purposes)",
    ),
    Flag::text("cert", "", "identify secure client using this TLS certificate file"),
    Flag::text("key", "", "identify secure client using this TLS key file"),
    Flag::text("cacert", "", "verify certificates of TLS-enabled secure servers using this CA bundle"),
    Flag::text(
        "auth-jwt-token",
        "",
        "JWT token used for authentication (if this option is used, --user and --password should not be set)",
    ),
    Flag::text("user", "", "username[:password] for authentication (prompt if password is not supplied)"),
    Flag::text(
        "password",
        "",
        "password for authentication (if this option is used, --user option shouldn't include password)",
    ),
    Flag::text("discovery-srv", "", "domain name to query for SRV records describing cluster endpoints")
        .short('d'),
    Flag::text("discovery-srv-name", "", "service name to query when using DNS discovery"),
];

/// Flags that this version does not support: refused by name unless they have their default value.
const NOT_YET: [&str; 8] = [
    "insecure-skip-tls-verify",
    "key",
    "cert",
    "cacert",
    "auth-jwt-token",
    "user",
    "discovery-srv",
    "discovery-srv-name",
];

/// Variables that `watch` reads by itself.
const WATCH_VARIABLES: [&str; 2] = ["ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"];

/// A client and a printer, as the flags ask for them.
#[derive(Debug)]
pub(crate) struct Session {
    config: Config,
    command_timeout: Duration,
    printer: Printer,
}

impl Session {
    /// Adds the environment to `flags`, and creates what a command needs from them.
    pub(crate) fn new(flags: &mut Values) -> Result<Self, Failure> {
        Self::with_variables(flags, &[])
    }

    /// Like [`Session::new`], for `watch`.
    pub(crate) fn for_watch(flags: &mut Values) -> Result<Self, Failure> {
        Self::with_variables(flags, &WATCH_VARIABLES)
    }

    fn with_variables(flags: &mut Values, more: &[&str]) -> Result<Self, Failure> {
        read_environment(flags, more)?;
        refuse_not_yet(flags)?;
        Ok(Session {
            config: config(flags),
            command_timeout: flags.duration("command-timeout"),
            printer: Printer::new(flags)?,
        })
    }

    /// A client of all endpoints, each of whose calls has `--command-timeout`.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(self.patient_client()?.with_timeout(self.command_timeout))
    }

    /// A client of all endpoints, whose calls have no time limit.
    pub(crate) fn patient_client(&self) -> Result<Client, Failure> {
        connect(&self.config)
    }

    /// A client of one endpoint, each of whose calls has `--command-timeout`.
    pub(crate) fn client_of(&self, endpoint: &str) -> Result<Client, Failure> {
        let config = Config { endpoints: vec![endpoint.to_owned()], ..self.config.clone() };
        Ok(connect(&config)?.with_timeout(self.command_timeout))
    }

    /// The endpoints of the flag.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.config.endpoints
    }

    /// The time for a command that is expected to be short.
    pub(crate) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    pub(crate) fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Prints an answer of the cluster.
    pub(crate) fn print(&self, answer: &Answer) -> Result<(), Failure> {
        self.printer.print(answer)
    }
}

fn connect(config: &Config) -> Result<Client, Failure> {
    Client::new(config).map_err(Failure::bad_connection)
}

/// Gives the inherited flags the values of their variables, `ETCDCTL_` and the name in capitals.
fn read_environment(flags: &mut Values, more: &[&str]) -> Result<(), Failure> {
    let mut known: BTreeSet<String> = more.iter().map(|&name| name.to_owned()).collect();
    let inherited: Vec<_> = flags.inherited().collect();
    for (name, is_changed) in inherited {
        let variable = format!("ETCDCTL_{}", name.to_uppercase().replace('-', "_"));
        let value = env(&variable);
        if value.is_empty() {
            continue;
        }
        if is_changed {
            log(
                "fatal",
                "conflicting environment variable is shadowed by corresponding command-line flag \
                 (either unset environment variable or disable flag))",
                &variable,
            );
            return Err(Failure::told());
        }
        flags.take_from_env(name, &value);
        known.insert(variable);
    }
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("ETCDCTL_") && !known.contains(&*name) {
            log("warn", "unrecognized environment variable", &format!("{name}={}", value.to_string_lossy()));
        }
    }
    Ok(())
}

/// Writes a line of logging, in the format of etcd's.
fn log(level: &str, message: &str, variable: &str) {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    eprintln!(
        "{{\"level\":\"{level}\",\"msg\":{},\"environment-variable\":{}}}",
        text(message),
        text(variable)
    );
}

fn refuse_not_yet(flags: &Values) -> Result<(), Failure> {
    for name in ["cert", "key", "cacert"] {
        if flags.is_changed(name) && flags.text(name).is_empty() {
            return Err(Failure::bad_args(format!("empty string is passed to --{name} option")));
        }
    }
    let secure_anyway = flags.is_changed("insecure-transport") && !flags.bool("insecure-transport");
    let name = if secure_anyway {
        Some("insecure-transport=false")
    } else {
        NOT_YET.into_iter().find(|name| flags.is_given(name))
    };
    match name {
        Some(name) => Err(Failure::new(ERROR, format!("--{name} is not supported by this version yet"))),
        None => Ok(()),
    }
}

fn config(flags: &Values) -> Config {
    let limit = |name| usize::try_from(flags.int(name)).ok().filter(|limit| *limit > 0);
    Config {
        endpoints: flags.list("endpoints").iter().map(|endpoint| endpoint.trim().to_owned()).collect(),
        dial_timeout: flags.duration("dial-timeout"),
        keepalive_time: flags.duration("keepalive-time"),
        keepalive_timeout: flags.duration("keepalive-timeout"),
        request_len_max: limit("max-request-bytes"),
        response_len_max: limit("max-recv-bytes"),
    }
}
