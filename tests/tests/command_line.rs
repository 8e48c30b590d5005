//! The command line of an app, by its examples: what they answer, with which exit code, and what they say of bad input.

#[path = "command_line/bad_input.rs"]
mod bad_input;
#[path = "command_line/brokers.rs"]
mod brokers;
#[path = "command_line/orders.rs"]
mod orders;
#[path = "command_line/queries.rs"]
mod queries;
#[path = "command_line/sending.rs"]
mod sending;

use tanist_tests::broker::TestBroker;
use tanist_tests::program::Program;

const ORDERS: &str = "02_orders";
const HELLO: &str = "01_hello";

/// A broker of its own: the examples' topics have fixed names.
fn orders() -> (TestBroker, Program) {
    let broker = TestBroker::embedded();
    let program = Program::new(ORDERS, broker.bootstrap());
    (broker, program)
}
