//! [`ShardActor`]: the shard as a supervised actor. Starts the lanes of its agents, and carries out what [`decide`] says
//! when one of them ends.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use actix::fut::wrap_future;
use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{Shard, ShardState};
use crate::agent::AgentSpec;
use crate::lane::{FailureKind, Lane, LaneExit, LaneFailure};
use crate::supervision::{Directive, History, Policy, decide};

/// An agent of the shard, under supervision.
struct Supervised {
    spec: AgentSpec,
    /// Its place among the intakes; timers have none.
    intake: Option<usize>,
    history: History,
    lanes: Vec<SpawnHandle>,
    running: usize,
}

/// See the module.
pub(crate) struct ShardActor {
    shard: Rc<Shard>,
    policy: Policy,
    agents: Vec<Supervised>,
    stopped: Vec<oneshot::Sender<()>>,
}

/// Stop in an orderly way: answered when all lanes have finished what they had in hand.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopShard;

impl ShardActor {
    pub(crate) fn new(shard: Rc<Shard>) -> Self {
        let mut intakes = 0..;
        let agents = shard.group.agents().map(|(topic, spec)| Supervised {
            spec: spec.clone(),
            intake: topic.and_then(|_| intakes.next()),
            history: History::default(),
            lanes: Vec::new(),
            running: 0,
        });
        Self {
            agents: agents.collect(),
            shard,
            policy: Policy::default(),
            stopped: Vec::new(),
        }
    }

    fn start_agent(&mut self, index: usize, ctx: &mut Context<Self>) {
        let shard = self.shard.clone();
        let agent = &mut self.agents[index];
        agent.running = shard.lanes_of(&agent.spec);
        agent.lanes = (0..agent.running)
            .map(|_| {
                let intake = agent
                    .intake
                    .map(|place| shard.intakes[place].intake.clone());
                let lane = Lane::new(&shard, intake, shard.agent_context());
                let run = (agent.spec.run)(&shard.context, lane);
                let caught = AssertUnwindSafe(run).catch_unwind();
                ctx.spawn(wrap_future::<_, Self>(caught).map(move |exit, actor, ctx| {
                    let exit = exit.unwrap_or_else(|panic| actor.panicked(&*panic));
                    actor.lane_ended(index, exit, ctx);
                }))
            })
            .collect();
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> LaneExit {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        LaneExit::Failed(LaneFailure {
            record: self.shard.interrupted.borrow_mut().take(),
            kind: FailureKind::Panic,
            message,
        })
    }

    fn lane_ended(&mut self, index: usize, exit: LaneExit, ctx: &mut Context<Self>) {
        let agent = &mut self.agents[index];
        agent.running -= 1;
        let failure = match exit {
            LaneExit::Stopped => return self.tell_if_stopped(),
            LaneExit::Failed(failure) => failure,
        };
        // Instances of one agent share its fate: each may have seen half of something.
        for lane in agent.lanes.drain(..) {
            ctx.cancel_future(lane);
        }
        agent.running = 0;
        let directive = decide(&self.policy, &mut agent.history, &failure);
        let (name, attempt) = (agent.spec.name.clone(), agent.history.attempts());
        let at = failure
            .record
            .as_ref()
            .map(|(partition, offset)| format!(" at {partition} offset {offset}"));
        let reason = format!(
            "agent {name}{}: {}",
            at.unwrap_or_default(),
            failure.message
        );
        match directive {
            Directive::Restart { after } => {
                tracing::warn!(shard = %self.shard.id(), attempt, ?after, "{reason}; the agent is made anew");
                self.shard.set_state(ShardState::Restarting {
                    agent: name,
                    attempt,
                    reason,
                });
                ctx.run_later(after, move |actor, ctx| actor.restart(index, ctx));
            }
            Directive::Stop => self.break_down(reason, ctx),
        }
    }

    fn restart(&mut self, index: usize, ctx: &mut Context<Self>) {
        if self.shard.is_broken() {
            return;
        }
        self.shard.set_state(ShardState::Running);
        self.start_agent(index, ctx);
    }

    /// The shard ends its work here; what it has finished is still committed.
    fn break_down(&mut self, reason: String, ctx: &mut Context<Self>) {
        for agent in &mut self.agents {
            for lane in agent.lanes.drain(..) {
                ctx.cancel_future(lane);
            }
            agent.running = 0;
        }
        self.shard.break_down(reason);
        self.tell_if_stopped();
    }

    fn tell_if_stopped(&mut self) {
        if self.agents.iter().all(|agent| agent.running == 0) {
            for waiting in self.stopped.drain(..) {
                // Whoever asked may be gone.
                let _ = waiting.send(());
            }
        }
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for index in 0..self.agents.len() {
            self.start_agent(index, ctx);
        }
    }
}

impl Handler<StopShard> for ShardActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopShard, _: &mut Context<Self>) -> ResponseFuture<()> {
        let (stopped, all_stopped) = oneshot::channel();
        self.stopped.push(stopped);
        self.shard.stop();
        self.tell_if_stopped();
        Box::pin(async move {
            // An error means that the actor is gone, and its lanes with it.
            let _ = all_stopped.await;
        })
    }
}
