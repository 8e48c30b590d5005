//! [`ShardActor`]: the shard as a supervised actor. Starts the lanes of its agents, and carries out what [`decide`] says
//! when one of them ends.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use actix::fut::wrap_future;
use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use super::{Shard, ShardState};
use crate::agent::AgentSpec;
use crate::lane::{Lane, LaneExit};
use crate::supervision::{Directive, FailureKind, History, LaneFailure, Policy, Task, decide};

/// An agent of the shard, under supervision.
struct Supervised {
    spec: AgentSpec,
    /// Its place among the intakes; timers have none.
    intake: Option<usize>,
    /// Of all its instances, which it outlives.
    history: Rc<RefCell<History>>,
    lanes: Vec<SpawnHandle>,
    running: usize,
}

/// A shard at work. Dropped, it ends at once.
pub(crate) struct RunningShard {
    actor: Addr<ShardActor>,
    ended: Shared<oneshot::Receiver<()>>,
}

impl RunningShard {
    /// Starts the lanes of its agents.
    pub(crate) fn start(shard: &Rc<Shard>) -> Self {
        let (tell, ended) = oneshot::channel();
        Self {
            actor: ShardActor::new(shard.clone(), tell).start(),
            ended: ended.shared(),
        }
    }

    /// Lets all lanes finish what they have in hand, and end; then nothing of it is left.
    pub(crate) fn stop(&self) -> impl Future<Output = ()> + use<> {
        // As in `drop`.
        let _ = self.actor.clone().try_send(StopShard);
        let ended = self.ended.clone();
        async move {
            // Nothing is sent: it ends by being dropped.
            let _ = ended.await;
        }
    }
}

impl Drop for RunningShard {
    fn drop(&mut self) {
        // A full mailbox is none of a new address; a closed one is that of an actor that is gone.
        let _ = self.actor.clone().try_send(EndShard);
    }
}

/// See the module.
struct ShardActor {
    shard: Rc<Shard>,
    policy: Policy,
    agents: Vec<Supervised>,
    is_stopping: bool,
    /// Dropped last: whoever waits for that knows that the shard is let go of.
    _ended: oneshot::Sender<()>,
}

/// End when all lanes have finished what they have in hand.
#[derive(Message)]
#[rtype(result = "()")]
struct StopShard;

/// End at once.
#[derive(Message)]
#[rtype(result = "()")]
struct EndShard;

impl ShardActor {
    fn new(shard: Rc<Shard>, ended: oneshot::Sender<()>) -> Self {
        let mut intakes = 0..;
        let agents = shard.group.agents().map(|(topic, spec)| Supervised {
            spec: spec.clone(),
            intake: topic.and_then(|_| intakes.next()),
            history: Rc::default(),
            lanes: Vec::new(),
            running: 0,
        });
        Self {
            agents: agents.collect(),
            shard,
            policy: Policy::default(),
            is_stopping: false,
            _ended: ended,
        }
    }

    fn start_agent(&mut self, index: usize, ctx: &mut Context<Self>) {
        let shard = self.shard.clone();
        let agent = &mut self.agents[index];
        agent.running = shard.lanes_of(&agent.spec);
        agent.lanes = (0..agent.running)
            .map(|number| {
                let intake = agent
                    .intake
                    .map(|place| shard.intakes[place].intake.clone());
                let lane = Lane::new(&shard, number, intake, &agent.history);
                let run = (agent.spec.run)(&shard.context, lane);
                let caught = AssertUnwindSafe(run).catch_unwind();
                ctx.spawn(wrap_future::<_, Self>(caught).map(move |exit, actor, ctx| {
                    let exit = exit.unwrap_or_else(|panic| actor.panicked(number, &*panic));
                    actor.lane_ended(index, exit, ctx);
                }))
            })
            .collect();
    }

    fn panicked(&self, lane: usize, panic: &(dyn std::any::Any + Send)) -> LaneExit {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        LaneExit::Failed(LaneFailure {
            // With nothing in hand there is only the agent's factory.
            task: self
                .shard
                .panicked_at
                .take()
                .unwrap_or(Task::Start { lane }),
            kind: FailureKind::Panic,
            message,
        })
    }

    fn lane_ended(&mut self, index: usize, exit: LaneExit, ctx: &mut Context<Self>) {
        let agent = &mut self.agents[index];
        agent.running -= 1;
        let failure = match exit {
            LaneExit::Stopped => return self.end_if_stopped(ctx),
            LaneExit::Failed(failure) => failure,
        };
        // Instances of one agent share its fate: each may have seen half of something.
        for lane in agent.lanes.drain(..) {
            ctx.cancel_future(lane);
        }
        agent.running = 0;
        let directive = decide(&self.policy, &mut agent.history.borrow_mut(), &failure);
        let name = agent.spec.name.clone();
        let at = match (failure.task, agent.intake) {
            (Task::Record(offset), Some(place)) => {
                let intake = self.shard.intakes[place].intake.borrow();
                format!(" at {} offset {offset}", intake.partition())
            }
            _ => String::new(),
        };
        let reason = format!("agent {name}{at}: {}", failure.message);
        match directive {
            Directive::Restart { attempt, after } => {
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
        self.cancel_lanes(ctx);
        self.shard.break_down(reason);
        self.end_if_stopped(ctx);
    }

    /// What is still in hand has had its time: it is undone, and whoever has the shard next does it again.
    fn cut_off(&mut self, ctx: &mut Context<Self>) {
        let shard = self.shard.id();
        for agent in self.agents.iter().filter(|agent| agent.running > 0) {
            let (name, timeout) = (&agent.spec.name, self.shard.finish_timeout());
            tracing::warn!(%shard, "agent {name} has not finished within {timeout:?}: what it has in hand is undone");
        }
        self.cancel_lanes(ctx);
        self.end_if_stopped(ctx);
    }

    /// What they have in hand is undone.
    fn cancel_lanes(&mut self, ctx: &mut Context<Self>) {
        for agent in &mut self.agents {
            for lane in agent.lanes.drain(..) {
                ctx.cancel_future(lane);
            }
            agent.running = 0;
        }
    }

    fn end_if_stopped(&self, ctx: &mut Context<Self>) {
        if self.is_stopping && self.agents.iter().all(|agent| agent.running == 0) {
            ctx.stop();
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
    type Result = ();

    fn handle(&mut self, _: StopShard, ctx: &mut Context<Self>) {
        self.is_stopping = true;
        self.shard.stop();
        ctx.run_later(self.shard.finish_timeout(), Self::cut_off);
        self.end_if_stopped(ctx);
    }
}

impl Handler<EndShard> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: EndShard, ctx: &mut Context<Self>) {
        ctx.terminate();
    }
}
