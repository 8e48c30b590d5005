//! Kafka by TLS and with logins: a node works, and its successor fences it as fast as in the clear where it can.
//!
//! `bin/test secure` runs these: they need the feature `tls`, and a broker with which to log in.

use std::env;

use tanist_tests::node::Orders;

/// What the log says where only librdkafka knows how to log in.
const SLOWLY: &str = "fencing by librdkafka";

fn of_broker(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: use bin/test secure"))
}

/// What users would set.
fn settings(broker: &str, protocol: &str, mechanism: &str) -> Vec<(String, String)> {
    let settings = [
        ("TANIST_BROKER", of_broker(broker)),
        ("TANIST_KAFKA_SECURITY_PROTOCOL", protocol.to_owned()),
        (
            "TANIST_KAFKA_SSL_CA_LOCATION",
            of_broker("TANIST_TEST_AUTHORITY"),
        ),
        ("TANIST_KAFKA_SASL_MECHANISM", mechanism.to_owned()),
        (
            "TANIST_KAFKA_SASL_USERNAME",
            of_broker("TANIST_TEST_USERNAME"),
        ),
        (
            "TANIST_KAFKA_SASL_PASSWORD",
            of_broker("TANIST_TEST_PASSWORD"),
        ),
    ];
    settings
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn tls(mechanism: &str) -> Vec<(String, String)> {
    settings("TANIST_TEST_TLS_BROKER", "sasl_ssl", mechanism)
}

/// Kills a node under load; what its successor, which begins by fencing it, has logged.
fn taken_over(settings: &[(String, String)]) -> String {
    let orders = Orders::start();
    let load = orders.generate(500, &[]);
    let mut first = orders.worker_with("node", &[], settings);
    orders.await_progress(&mut first);
    first.kill();
    let mut second = orders.worker_with("node", &[], settings);
    orders.await_progress(&mut second);
    load.stop();
    orders.await_all(&mut second);
    let log = second.stderr();
    second.stop();
    orders.judge("node");
    log
}

#[test]
#[ignore = "needs a broker with logins: bin/test secure"]
fn a_node_is_fenced_at_once_by_tls_with_a_password() {
    let log = taken_over(&tls("PLAIN"));
    assert!(!log.contains(SLOWLY), "{log}");
}

#[test]
#[ignore = "needs a broker with logins: bin/test secure"]
fn a_node_is_fenced_at_once_with_a_password_in_the_clear() {
    let log = taken_over(&settings(
        "TANIST_TEST_SASL_BROKER",
        "sasl_plaintext",
        "PLAIN",
    ));
    assert!(!log.contains(SLOWLY), "{log}");
}

#[test]
#[ignore = "needs a broker with logins: bin/test secure"]
fn a_node_is_fenced_by_librdkafka_where_only_that_can_log_in_and_says_so() {
    let log = taken_over(&tls("SCRAM-SHA-512"));
    assert!(log.contains(SLOWLY), "{log}");
}

/// What a node says that the broker does not let in. To wait would not help, so it ends at once.
fn refused(settings: &[(String, String)]) -> String {
    let orders = Orders::start();
    orders.worker_with("stranger", &[], settings).expect_end(1)
}

fn with(mut settings: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    settings.push((name.to_owned(), value.to_owned()));
    settings
}

#[test]
#[ignore = "needs a broker with logins: bin/test secure"]
fn a_wrong_password_is_told() {
    let log = refused(&with(tls("PLAIN"), "TANIST_KAFKA_SASL_PASSWORD", "wrong"));
    assert!(log.contains("Authentication failed"), "{log}");
}

#[test]
#[ignore = "needs a broker with logins: bin/test secure"]
fn a_broker_that_nobody_vouches_for_is_not_spoken_to() {
    let nobody = settings("TANIST_TEST_TLS_BROKER", "sasl_ssl", "PLAIN");
    let nobody: Vec<_> = nobody
        .into_iter()
        .filter(|(name, _)| !name.contains("SSL_CA"))
        .collect();
    let log = refused(&nobody);
    assert!(log.contains("certificate verify failed"), "{log}");
}
