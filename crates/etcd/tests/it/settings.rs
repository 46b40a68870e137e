//! Settings as operators have them: those of other people's files, and those that change between two starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proto::etcdserverpb::{PutRequest, RangeRequest};

use crate::client::Client;
use crate::server::{Server, start_in_vain_with};

/// The id of the member, as it tells it in its log.
fn member_id(server: &Server) -> String {
    let line = server.start_log().lines().find(|line| line.contains("starting local member")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["local-member-id"].as_str().unwrap().to_owned()
}

async fn put(server: &Server) {
    let client = Client::connect(server.address).await;
    let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    client.put(&put).await.unwrap();
}

async fn value(server: &Server) -> String {
    let client = Client::connect(server.address).await;
    let range = RangeRequest { key: "k".into(), ..RangeRequest::default() };
    String::from_utf8(client.range(&range).await.unwrap().kvs[0].value.to_vec()).unwrap()
}

#[tokio::test]
async fn member_with_data_ignores_what_only_a_new_one_goes_by() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let first_id = member_id(&server);
    put(&server).await;
    server.kill();
    let peer = "http://10.0.0.9:2380";
    for flags in [
        &["--initial-cluster-state=existing"][..],
        &["--initial-cluster-token=other"],
        &["--initial-cluster="],
        &["--initial-cluster=nonsense"],
        &["--initial-cluster=default=http://localhost:2380,b=http://localhost:1"],
        &["--initial-advertise-peer-urls", peer],
        &["--name=other", "--initial-advertise-peer-urls", peer],
        &["--discovery-token=t", "--discovery-endpoints=http://localhost:1"],
        &["--force-new-cluster"],
    ] {
        let server = Server::start_with(dir.path(), flags);
        assert_eq!(member_id(&server), first_id, "{flags:?}");
        assert_eq!(value(&server).await, "v", "{flags:?}");
        server.kill();
    }
}

#[tokio::test]
async fn wal_directory_that_is_there_and_holds_no_log_is_used() {
    let (dir, wal_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(wal_dir.path().join("lost+found")).unwrap();
    let flags = ["--wal-dir", wal_dir.path().to_str().unwrap()];
    let server = Server::start_with(dir.path(), &flags);
    put(&server).await;
    server.kill();
    let restarted = Server::start_with(dir.path(), &flags);
    assert_eq!(value(&restarted).await, "v");
    assert!(wal_dir.path().join("lost+found").exists());
}

#[test]
fn file_in_place_of_a_directory_is_named_with_its_flag() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = |data_dir: &Path, flags: &[&str], expected: &str| {
        let refusal = start_in_vain_with(data_dir, "127.0.0.1:0", flags);
        assert_eq!(refusal.code, 1);
        assert!(refusal.log.contains(expected), "{expected} in {}", refusal.log);
    };
    let text = file.to_str().unwrap();
    let in_the_way = format!("{text} is not a directory");
    refused(&file, &[], &format!("cannot use {text}/member as --data-dir: {in_the_way}"));
    refused(
        &dir.path().join("d"),
        &["--wal-dir", text],
        &format!("cannot use {text} as --wal-dir: {in_the_way}"),
    );
    let directory = dir.path().to_str().unwrap();
    let refusal = format!("open sink \\\"{directory}\\\": open {directory}: is a directory");
    refused(&dir.path().join("d"), &["--log-outputs", directory], &refusal);
    refused(
        &dir.path().join("d"),
        &["--config-file", directory],
        &format!("read {directory}: is a directory"),
    );
}

#[test]
fn data_directory_that_others_may_read_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(dir.path());
    let log = server.start_log();
    assert!(log.contains("check file permission") && log.contains("drwxr-xr-x"), "{log}");
    server.terminate();
}

#[test]
fn sample_file_of_etcd_is_served_by() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/sample.yaml");
    let sample = fs::read_to_string(sample).unwrap();
    let file = dir.path().join("etcd.conf.yml");
    // A test has no port and no directory of its own choice.
    let own = sample
        .replace("listen-client-urls: http://localhost:2379", "listen-client-urls: http://127.0.0.1:0")
        .replace("listen-peer-urls: http://localhost:2380", "listen-peer-urls: http://127.0.0.1:0")
        .replace("data-dir:\n", &format!("data-dir: {}\n", dir.path().join("data").display()));
    assert_ne!(own, sample);
    fs::write(&file, own).unwrap();
    let server = Server::launch(&["--config-file".to_owned(), file.to_str().unwrap().to_owned()], &[]);
    server.terminate();
}

/// The flags that kubeadm gives etcd, except that nothing is encrypted.
#[test]
fn flags_of_kubeadm_are_served_by() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = format!("--data-dir={}", dir.path().display());
    let flags = [
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--client-cert-auth=true",
        &data_dir,
        "--feature-gates=InitialCorruptCheck=true",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=node=http://127.0.0.1:2380",
        "--key-file=/etc/kubernetes/pki/etcd/server.key",
        "--cert-file=/etc/kubernetes/pki/etcd/server.crt",
        "--listen-client-urls=http://127.0.0.1:0",
        "--listen-metrics-urls=http://127.0.0.1:0",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--name=node",
        "--peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt",
        "--peer-client-cert-auth=true",
        "--peer-key-file=/etc/kubernetes/pki/etcd/peer.key",
        "--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
        "--snapshot-count=10000",
        "--trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
        "--watch-progress-notify-interval=5s",
        "--bootstrap-defrag-threshold-megabytes=100",
    ];
    let server = Server::launch(&flags.map(str::to_owned), &[]);
    let log = server.start_log();
    for text in ["Skipping defragmentation", "ignoring key and cert files", "ignoring client cert auth"] {
        assert!(log.contains(text), "{text} in {log}");
    }
    server.terminate();
}
