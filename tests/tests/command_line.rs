//! The command line of an app, by its examples: what they answer, with which exit code, and what they say of bad input.

#[path = "command_line/blocked.rs"]
mod blocked;
#[path = "command_line/brokers.rs"]
mod brokers;
#[path = "command_line/configuration.rs"]
mod configuration;
#[path = "command_line/data_dir.rs"]
mod data_dir;
#[path = "command_line/endings.rs"]
mod endings;
#[path = "command_line/full_disk.rs"]
mod full_disk;
#[path = "command_line/lost.rs"]
mod lost;
#[path = "command_line/newer.rs"]
mod newer;
#[path = "command_line/orders.rs"]
mod orders;
#[path = "command_line/own_topics.rs"]
mod own_topics;
#[path = "command_line/queries.rs"]
mod queries;
#[path = "command_line/records.rs"]
mod records;
#[path = "command_line/sending.rs"]
mod sending;
#[path = "command_line/up.rs"]
mod up;

use tanist_tests::broker::TestBroker;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::orders::{ORDER_COUNTS, check_orders};
use tanist_tests::program::Program;

const ORDERS: &str = "02_orders";
const HELLO: &str = "01_hello";
const CHANGELOG: &str = "orders-order_count-changelog";
/// A node that processes what there is, and ends.
const CATCH_UP: &[&str] = &["worker", "--until-caught-up"];

/// A broker of its own: the examples' topics have fixed names.
fn orders() -> (TestBroker, Program) {
    let broker = TestBroker::embedded();
    let program = Program::new(ORDERS, broker.bootstrap());
    (broker, program)
}

/// Sends so many orders.
fn generate(program: &Program, records: u32) {
    let records = records.to_string();
    program.answer(&["generate", "--rate", "0", "--records", &records]);
}

/// So many orders are counted, each once.
fn assert_counted(broker: &TestBroker, orders: u64) {
    let check = check_orders(broker.bootstrap(), ORDER_COUNTS, TIMEOUT);
    let check = check.expect("the order counts can be read");
    assert!(check.is_sound() && check.orders() == orders, "{check}");
}
