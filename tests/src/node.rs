//! [`Orders`]: the orders example with a broker and a folder of its own; each command of it is a [`Process`], to be
//! killed, frozen and stopped.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::broker::TestBroker;
use crate::clients::TIMEOUT;
use crate::orders::{ORDER_COUNTS, OrderCheck, check_orders, read_orders};
use crate::program::{Ended, Process, Program};
use crate::reader::read_committed;

const PROGRAM: &str = "02_orders";
pub use crate::orders::ORDERS;
/// How many partitions its topics have.
pub const PARTITIONS: i32 = 8;

/// More than a fence writes: one for each partition and worker.
const MARKERS: i64 = 100;

/// See the module. On a broker that tests share, one test at a time has it, and goes on from what the last one left.
pub struct Orders {
    broker: TestBroker,
    program: Program,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Orders {
    /// On the broker that the environment names, or an embedded one in this process.
    pub fn start() -> Self {
        Self::on(TestBroker::start())
    }

    /// On an embedded broker: for tests that reach into it, or spoil its topics.
    pub fn embedded() -> Self {
        Self::on(TestBroker::embedded())
    }

    fn on(broker: TestBroker) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = broker
            .is_shared()
            .then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        Self {
            program: Program::new(PROGRAM, broker.bootstrap()),
            broker,
            _turn: turn,
        }
    }

    /// The broker.
    pub fn broker(&self) -> &TestBroker {
        &self.broker
    }

    /// The data directory that is called so; nodes of different names are on different machines.
    pub fn data_dir(&self, node: &str) -> PathBuf {
        self.program.folder().join(node)
    }

    /// Starts `worker` in the data directory of `node`.
    pub fn worker(&self, node: &str, args: &[&str]) -> Process {
        self.worker_with(node, args, &[])
    }

    /// The same, with variables more.
    pub fn worker_with(
        &self,
        node: &str,
        args: &[&str],
        variables: &[(String, String)],
    ) -> Process {
        let mut program = self.program.beside(PROGRAM);
        for (name, value) in variables {
            program = program.variable(name, value);
        }
        program.start(&[&["worker", "--data-dir", node], args].concat())
    }

    /// Starts `worker` of another program, in the data directory of `node`.
    pub fn worker_of(&self, program: &str, node: &str, args: &[&str]) -> Process {
        let args = [&["worker", "--data-dir", node], args].concat();
        self.program.beside(program).start(&args)
    }

    /// Asks the node in the data directory of `node`.
    pub fn ask(&self, node: &str, args: &[&str]) -> Ended {
        self.program.run(&[args, &["--data-dir", node]].concat())
    }

    /// Starts `generate`, with so many orders a second.
    pub fn generate(&self, rate: u32, args: &[&str]) -> Process {
        let rate = rate.to_string();
        let args = [&["generate", "--rate", &rate], args].concat();
        self.program.start(&args)
    }

    /// The sum of the ends of a topic's partitions, open transactions included; grows when anything is written.
    pub fn written(&self, topic: &str) -> i64 {
        let mut raw = self.broker.raw();
        let ends = (0..PARTITIONS).map(|partition| raw.list_offset(topic, partition, -1, false));
        // What does not exist yet ends at -1.
        ends.map(|(_, end, _)| end.max(0)).sum()
    }

    /// Waits until `node` has written order counts beyond what there is now, and beyond the markers of a predecessor's
    /// transactions that its fence has ended.
    pub fn await_progress(&self, node: &mut Process) {
        let before = self.written(ORDER_COUNTS);
        node.until("it makes progress", |_| {
            (self.written(ORDER_COUNTS) > before + MARKERS).then_some(())
        });
    }

    /// Waits until every order that was sent is counted; how many that are.
    pub fn await_all(&self, node: &mut Process) -> u64 {
        node.until("every order is counted", |_| {
            let broker = self.broker.bootstrap();
            let sent = read_committed(broker, ORDERS, TIMEOUT, |_| ());
            let check = check_orders(broker, ORDER_COUNTS, TIMEOUT);
            let counted = check.expect("the order counts can be read").orders();
            sent.is_ok_and(|sent| sent == counted).then_some(counted)
        })
    }

    /// Has a worker with the data directory of `node` process what is left to be, and judges all that the example has ever
    /// counted on this broker: every order of the topic, each once.
    pub fn judge(&self, node: &str) -> OrderCheck {
        let (check, sent) = self.count(node, &[]);
        assert!(check.is_sound(), "{check}");
        assert_eq!(check.orders(), sent, "orders counted, orders sent: {check}");
        check
    }

    /// The same without a judgement: what was counted, and the number of orders in the topic.
    pub fn count(&self, node: &str, args: &[&str]) -> (OrderCheck, u64) {
        let args = [args, &["--until-caught-up"]].concat();
        self.worker(node, &args).expect_end(0);
        let broker = self.broker.bootstrap();
        let sent = read_committed(broker, ORDERS, TIMEOUT, |_| ());
        let check = check_orders(broker, ORDER_COUNTS, TIMEOUT);
        let mut check = check.expect("the order counts can be read");
        let orders = read_orders(broker, ORDERS, TIMEOUT);
        check.hold_against(&orders.expect("the orders can be read"));
        (check, sent.expect("the orders can be read"))
    }
}
