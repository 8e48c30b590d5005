//! Runs one command and tells what it used: a small process between the driver and a contestant.
//!
//! The system takes over the peak memory of whoever starts a process into that of the process, so a driver that has
//! just written two million records must not start contestants itself.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use crate::Result;
use crate::raw::wait_with_usage;

/// What a process has used when it has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) success: bool,
    /// User and system time.
    pub(crate) cpu: Duration,
    pub(crate) peak_rss_bytes: u64,
}

/// The command to run.
#[derive(Args)]
pub(crate) struct MeasuredArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command and prints a line for [`usage_of`]. Standard output of the command is dropped.
pub(crate) fn run(arguments: &MeasuredArguments) -> Result<()> {
    let child = Command::new(&arguments.command[0])
        .args(&arguments.command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", arguments.command[0].display()))?;
    let Usage {
        success,
        cpu,
        peak_rss_bytes,
    } = wait_with_usage(child)?;
    println!("{success} {} {peak_rss_bytes}", cpu.as_micros());
    Ok(())
}

/// Runs `command` through a process of its own and returns what it used.
pub(crate) fn usage_of(command: &Command) -> Result<Usage> {
    let mut measured = Command::new(std::env::current_exe()?);
    measured
        .arg("measured")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measured.env(name, value),
            None => measured.env_remove(name),
        };
    }
    let output = measured.stderr(Stdio::inherit()).output()?;
    parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| "the process that measures has failed".into())
}

fn parse(line: &str) -> Option<Usage> {
    let mut words = line.split_whitespace();
    let success = words.next()?.parse().ok()?;
    let cpu = Duration::from_micros(words.next()?.parse().ok()?);
    let peak_rss_bytes = words.next()?.parse().ok()?;
    Some(Usage {
        success,
        cpu,
        peak_rss_bytes,
    })
}

#[test]
fn a_line_of_usage_is_read_as_it_was_written() {
    let usage = Usage {
        success: true,
        cpu: Duration::from_micros(1_250_000),
        peak_rss_bytes: 42_000_000,
    };
    assert_eq!(parse("true 1250000 42000000\n"), Some(usage));
    assert_eq!(parse(""), None);
    assert_eq!(parse("true 1"), None);
}
