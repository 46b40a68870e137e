//! The settings of TLS and authentication, neither of which exists yet.
//!
//! They are checked as etcd checks them and otherwise change nothing: where no URL asks for TLS, etcd ignores
//! its certificates too, and says so in its log. A URL that does ask for TLS is refused.

use super::url::{Scheme, Url};
use super::{Config, StartupMessage};
use crate::flags::Flags;

/// The names of Go's cipher suites, with the insecure ones and two old names.
const CIPHER_SUITES: [&str; 27] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// The range of bcrypt's cost.
const BCRYPT_COSTS: std::ops::RangeInclusive<u64> = 4..=31;

/// Checks the versions of TLS, and that cipher suites can be chosen for them.
pub(super) fn check_tls_versions(flags: &Flags) -> Result<(), String> {
    let (min, max) = (flags.value("tls-min-version").into_text(), flags.value("tls-max-version").into_text());
    for version in [&min, &max] {
        if !matches!(&**version, "" | "TLS1.2" | "TLS1.3") {
            return Err(format!("unexpected TLS version {version:?} (must be one of: TLS1.2, TLS1.3)"));
        }
    }
    if !max.is_empty() && min > max {
        return Err(format!("min version ({min}) is greater than max version ({max})"));
    }
    if min == "TLS1.3" && !flags.value("cipher-suites").into_words().is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_owned());
    }
    Ok(())
}

/// Checks what etcd checks as it starts, and refuses URLs that ask for TLS. The error is etcd's text where it
/// has one.
pub(super) fn check(config: &Config, flags: &Flags) -> Result<(), String> {
    let suites = flags.value("cipher-suites").into_words();
    if let Some(suite) = suites.iter().find(|suite| !CIPHER_SUITES.contains(&&***suite)) {
        return Err(format!("unexpected TLS cipher suite {suite:?}"));
    }
    let is_set = |name| flags.value(name).is_true();
    let years: u64 = flags.value("self-signed-cert-validity").into_int();
    if (is_set("auto-tls") || is_set("peer-auto-tls")) && years == 0 {
        return Err("selfSignedCertValidity is invalid,it should be greater than 0".to_owned());
    }
    check_client_urls(config, flags)?;
    if flags.value("max-learners").into_int::<i64>() < 0 {
        return Err("membership: too many learner members in cluster".to_owned());
    }
    check_token(&flags.value("auth-token").into_text())
}

/// The error of a URL that asks for TLS: there is no certificate, or this version has no TLS.
fn check_client_urls(config: &Config, flags: &Flags) -> Result<(), String> {
    let is_given = |name| !flags.value(name).into_text().is_empty();
    let has_certificate =
        (is_given("cert-file") && is_given("key-file")) || flags.value("auto-tls").is_true();
    let clients = config.listen_client_urls.iter().chain(&config.listen_client_http_urls);
    if let Some(url) = clients.clone().find(|url| asks_for_tls(url)) {
        return Err(match has_certificate {
            true => format!("{url} is not supported by this version yet: there is no TLS"),
            false => format!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
            ),
        });
    }
    match config.listen_metrics_urls.iter().find(|url| asks_for_tls(url)) {
        Some(url) if has_certificate => {
            Err(format!("{url} is not supported by this version yet: there is no TLS"))
        }
        Some(_) => {
            Err("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
                .to_owned())
        }
        None => Ok(()),
    }
}

fn asks_for_tls(url: &Url) -> bool {
    matches!(url.scheme, Scheme::Https | Scheme::Unixs)
}

/// A kind of token and its options, `simple` or `jwt,option=value`. Files that options name are not looked
/// at.
fn check_token(text: &str) -> Result<(), String> {
    let mut parts = text.split(',');
    let is_known = matches!(parts.next(), Some("" | "simple" | "jwt"));
    let has_pairs = parts.all(|option| option.split('=').count() == 2);
    if is_known && has_pairs { Ok(()) } else { Err("auth: invalid auth options".to_owned()) }
}

/// What etcd logs about settings that it ignores.
pub(super) fn startup_messages(config: &Config, flags: &Flags) -> Vec<StartupMessage> {
    let is_given = |name| !flags.value(name).into_text().is_empty();
    let has_certificate = is_given("cert-file") || is_given("key-file");
    let mut startup_messages = Vec::new();
    for url in config.listen_client_urls.iter().chain(&config.listen_client_http_urls) {
        if has_certificate {
            startup_messages.push(StartupMessage::CertificateIgnored { url: url.to_string() });
        }
        if flags.value("client-cert-auth").is_true() {
            startup_messages.push(StartupMessage::ClientCertAuthIgnored { url: url.to_string() });
        }
    }
    if !BCRYPT_COSTS.contains(&flags.value("bcrypt-cost").into_int()) {
        startup_messages
            .push(StartupMessage::Words("use default bcrypt cost instead of the invalid given cost"));
    }
    startup_messages
}
