//! The first members of a cluster as SRV records name them.
//!
//! `_etcd-server-ssl._tcp.DOMAIN` names members at `https` URLs, `_etcd-server._tcp.DOMAIN` those at `http` URLs. A record
//! has no name for its member: the one at an address that this member advertises is this member, others are called `0`,
//! `1` and so on. The names count on this member only. Texts are etcd's.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tracing::{info, warn};

use super::dns::{SrvLookup, SrvRecord};
use crate::config::{Config, InitialMember, Scheme, SrvDomain, Url, go_text, parse_members};
use crate::identity::Names;

/// The services to ask for, each with the scheme of its members.
const SERVICES: [(&str, Scheme); 2] = [("etcd-server-ssl", Scheme::Https), ("etcd-server", Scheme::Http)];

/// Finds the members of the cluster that `domain` describes. One of them is this member.
pub(super) fn find(
    config: &Config,
    domain: &SrvDomain,
    records: &mut impl SrvLookup,
    names: &mut impl Names,
) -> Result<Vec<InitialMember>, String> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (service, scheme) in SERVICES {
        let service = match &*domain.name_suffix {
            "" => service.to_owned(),
            suffix => format!("{service}-{suffix}"),
        };
        let entries = entries_of(config, &service, scheme, &domain.domain, records, names);
        log_service(config, domain, &service, &entries);
        match entries {
            Ok(mut entries) => found.append(&mut entries),
            Err(error) => errors.push(error),
        }
    }
    if found.is_empty() {
        return Err(errors.join("\n"));
    }
    found.iter().for_each(|node| info!(node, "got bootstrap from DNS for etcd-server"));
    let members = parse_members(&found.join(","))?;
    if !members.iter().any(|member| member.name == config.name) {
        return Err(format!("cannot find local etcd member {:?} in SRV records", config.name));
    }
    Ok(members)
}

/// The entries of the list that a service gives; an error if it gives none.
fn entries_of(
    config: &Config,
    service: &str,
    scheme: Scheme,
    domain: &str,
    records: &mut impl SrvLookup,
    names: &mut impl Names,
) -> Result<Vec<String>, String> {
    let failed = |error: String| format!("error querying DNS SRV records for _{service} {error}");
    let own = own_addresses(config, names).map_err(failed)?;
    let records = records.srv(&format!("_{service}._tcp.{domain}")).map_err(failed)?;
    let (mut entries, mut last_error, mut n_unnamed) = (Vec::new(), None, 0);
    for SrvRecord { target, port } in records {
        let host_and_port = format!("{target}:{port}");
        let url = Url { scheme, address: host_and_port };
        let address = match names.address(&url.address) {
            Ok(address) => address,
            Err(error) => {
                last_error = Some(format!("lookup {target}: {}", go_text(&error)));
                continue;
            }
        };
        let own_url = own.get(&address);
        let name = own_url.map_or_else(|| n_unnamed.to_string(), |_| config.name.clone());
        if own_url.is_none() {
            n_unnamed += 1;
        }
        match own_url {
            Some(expected) if expected.scheme != scheme => {
                last_error = Some(format!(
                    "bootstrap at {url} from DNS for {service} has scheme mismatch with expected peer {expected}"
                ));
            }
            _ => entries.push(format!("{name}={url}")),
        }
    }
    match last_error {
        Some(error) if entries.is_empty() => Err(failed(error)),
        _ => Ok(entries),
    }
}

/// The addresses that this member advertises.
fn own_addresses<'a>(
    config: &'a Config,
    names: &mut impl Names,
) -> Result<BTreeMap<SocketAddr, &'a Url>, String> {
    let advertised = config.initial_advertise_peer_urls.iter();
    let address = |url: &'a Url| match names.address(&url.address) {
        Ok(address) => Ok((address, url)),
        Err(error) => Err(format!("lookup {}: {}", url.host(), go_text(&error))),
    };
    advertised.map(address).collect()
}

fn log_service(config: &Config, domain: &SrvDomain, service: &str, entries: &Result<Vec<String>, String>) {
    let (name, domain) = (&config.name, &domain.domain);
    match entries {
        Ok(entries) => info!("service-name" = service, "server-name" = name, "discovery-srv" = domain,
            "found-cluster" = ?entries, "get cluster for etcd-server SRV"),
        Err(error) => warn!(
            "service-name" = service,
            "server-name" = name,
            "discovery-srv" = domain,
            error,
            "failed to resolve during SRV discovery"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::config::{Command, Discovery};

    /// Name servers and hosts of a test. The name of a host is its address.
    #[derive(Default)]
    struct Zone {
        records: BTreeMap<String, Vec<SrvRecord>>,
    }

    impl Zone {
        fn with(mut self, name: &str, targets: &[(&str, u16)]) -> Zone {
            let record =
                |(target, port): &(&str, u16)| SrvRecord { target: (*target).to_owned(), port: *port };
            self.records.insert(name.to_owned(), targets.iter().map(record).collect());
            self
        }
    }

    impl SrvLookup for Zone {
        fn srv(&mut self, name: &str) -> Result<Vec<SrvRecord>, String> {
            self.records
                .get(name)
                .cloned()
                .ok_or_else(|| format!("lookup {name} on 10.0.0.53:53: no such host"))
        }
    }

    struct Hosts;

    impl Names for Hosts {
        fn address(&mut self, host_and_port: &str) -> io::Result<SocketAddr> {
            host_and_port.parse().map_err(|_| io::Error::other("no such host"))
        }

        fn wait(&mut self) -> bool {
            false
        }
    }

    fn find_with(args: &[&str], mut zone: Zone) -> Result<String, String> {
        let own = [
            "--name",
            "me",
            "--initial-advertise-peer-urls",
            "http://10.0.0.2:2380",
            "--discovery-srv",
            "x.org",
        ];
        let args = own.iter().chain(args).map(|&arg| arg.to_owned());
        let Command::Serve(config) = Command::read(args, []).unwrap() else { panic!("these are settings") };
        let Some(Discovery::Srv(domain)) = &config.discovery else { panic!("SRV records are asked for") };
        let members = find(&config, domain, &mut zone, &mut Hosts)?;
        let entry = |member: &InitialMember| format!("{}={}", member.name, member.peer_urls[0]);
        Ok(members.iter().map(entry).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn the_member_at_an_advertised_address_is_this_one() {
        let zone = Zone::default()
            .with("_etcd-server._tcp.x.org", &[("10.0.0.1", 2380), ("10.0.0.2", 2380), ("10.0.0.3", 2380)]);
        let members = find_with(&[], zone);
        assert_eq!(members.unwrap(), "0=http://10.0.0.1:2380,1=http://10.0.0.3:2380,me=http://10.0.0.2:2380");
    }

    #[test]
    fn a_suffix_is_part_of_the_name_of_the_service() {
        let zone = Zone::default().with("_etcd-server-blue._tcp.x.org", &[("10.0.0.2", 2380)]);
        assert_eq!(find_with(&["--discovery-srv-name", "blue"], zone).unwrap(), "me=http://10.0.0.2:2380");
    }

    #[test]
    fn both_services_together_are_the_cluster() {
        let zone = Zone::default()
            .with("_etcd-server-ssl._tcp.x.org", &[("10.0.0.1", 2380)])
            .with("_etcd-server._tcp.x.org", &[("10.0.0.2", 2380)]);
        assert_eq!(find_with(&[], zone).unwrap(), "0=https://10.0.0.1:2380,me=http://10.0.0.2:2380");
    }

    #[test]
    fn why_no_cluster_is_found_is_told_in_the_words_of_etcd() {
        let missing = "error querying DNS SRV records for _etcd-server-ssl lookup _etcd-server-ssl._tcp.x.org on \
                       10.0.0.53:53: no such host\nerror querying DNS SRV records for _etcd-server lookup \
                       _etcd-server._tcp.x.org on 10.0.0.53:53: no such host";
        assert_eq!(find_with(&[], Zone::default()), Err(missing.to_owned()));
        let zone = Zone::default().with("_etcd-server._tcp.x.org", &[("10.0.0.1", 2380)]);
        let text = "cannot find local etcd member \"me\" in SRV records";
        assert_eq!(find_with(&[], zone), Err(text.to_owned()));
        let zone = Zone::default().with("_etcd-server-ssl._tcp.x.org", &[("10.0.0.2", 2380)]);
        let text = "bootstrap at https://10.0.0.2:2380 from DNS for etcd-server-ssl has scheme mismatch with \
                    expected peer http://10.0.0.2:2380";
        assert!(find_with(&[], zone).unwrap_err().contains(text));
        let zone = Zone::default().with("_etcd-server._tcp.x.org", &[("nowhere", 2380)]);
        let error = find_with(&[], zone).unwrap_err();
        assert!(error.ends_with("for _etcd-server lookup nowhere: no such host"), "{error}");
    }

    #[test]
    fn a_host_that_cannot_be_found_is_left_out() {
        let zone = Zone::default().with("_etcd-server._tcp.x.org", &[("nowhere", 1), ("10.0.0.2", 2380)]);
        assert_eq!(find_with(&[], zone).unwrap(), "me=http://10.0.0.2:2380");
    }
}
