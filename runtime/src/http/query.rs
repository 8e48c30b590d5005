//! Queries: any node answers them, by asking those that have the shards. `search` says whom, `question` what is asked and
//! what comes of the answers; this file carries it out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tanist_cluster::view::View;
use tanist_cluster::{MemberId, Partition, ShardId};

use super::Api;
use super::client::Patience;
use super::question::{Freshness, Held, Page, Part, Question, Range, Wanted};
use super::search::{Around, Search};
use super::status::Role;
use super::tables::QueryError;

/// How long a query may take, whoever does not answer.
const WITHIN: Duration = Duration::from_millis(4500);
/// How many nodes are asked at the same time.
const AT_ONCE: usize = 64;

impl Api {
    /// The value of a key, if there is one.
    pub(super) async fn get(
        self: &Arc<Self>,
        table: &str,
        key: &str,
        stale_ok: bool,
    ) -> Result<(Option<Value>, Freshness), QueryError> {
        let tables = self.tables()?;
        let home = tables.home(table, key)?;
        let mut others = tables.shards(table)?;
        others.retain(|shard| *shard != home);
        let begun = self.clock.elapsed();
        let mut looked_at = Vec::new();
        // Where the partition was decided by other bytes than the table's key, it is elsewhere.
        for shards in [vec![home], others] {
            let wanted = Wanted::Key(key.to_owned());
            let parts = self.ask_all(table, &shards, wanted, stale_ok, begun);
            for mut part in parts.await? {
                if let Some(entry) = part.entries.pop() {
                    return Ok((Some(entry.value), Freshness::of([&part])));
                }
                looked_at.push(part);
            }
        }
        Ok((None, Freshness::of(&looked_at)))
    }

    /// A page of a table.
    pub(crate) async fn scan(
        self: &Arc<Self>,
        table: &str,
        range: &Range,
    ) -> Result<Page, QueryError> {
        let tables = self.tables()?;
        let limit = tables.check(table, range)?;
        let shards = tables.shards(table)?;
        let (wanted, begun) = (Wanted::Range(range.clone()), self.clock.elapsed());
        let parts = self.ask_all(table, &shards, wanted, range.stale_ok, begun);
        tables.merge(table, parts.await?, limit)
    }

    /// What this node has of the answer.
    pub(super) fn part(&self, question: &Question) -> Result<Part, QueryError> {
        let part = self.part_if(question, self.board.is_sure())?;
        match self.board.is_sure() {
            true => Ok(part),
            // It may have been frozen between the question and the look.
            false => self.part_if(question, false),
        }
    }

    fn part_if(&self, question: &Question, is_sure: bool) -> Result<Part, QueryError> {
        let (view, me) = (self.board.view(), self.board.member());
        let reported = self.board.shards();
        self.tables()?.part(question, |shard| {
            let status = reported.iter().find(|status| status.shard == *shard);
            let role = me.and_then(|me| Role::of(&view, me, shard));
            Held::of(status, role == Some(Role::Active), is_sure)
        })
    }

    /// The parts that make up the answer for all of `shards`.
    async fn ask_all(
        self: &Arc<Self>,
        table: &str,
        shards: &[ShardId],
        wanted: Wanted,
        stale_ok: bool,
        begun: Duration,
    ) -> Result<Vec<Part>, QueryError> {
        let (view, others) = (self.board.view(), self.board.others());
        let around = Around {
            plan: view.plan().ok_or(QueryError::NotJoined)?,
            me: self.board.member(),
            others: &others,
        };
        let mut search = Search::new(&around, shards, stale_ok);
        let mut parts = Vec::new();
        loop {
            let round = search.round();
            if round.is_empty() {
                break;
            }
            let asks = round.into_iter().map(|(id, partitions)| {
                let patience = match search.has_others(&partitions) {
                    true if stale_ok => Patience::CopiesLeft,
                    true => Patience::OthersLeft,
                    false => Patience::Last,
                };
                let question = Question {
                    table: table.to_owned(),
                    partitions,
                    wanted: wanted.clone(),
                };
                self.ask(view.clone(), id, question, patience, begun)
            });
            let asks: Vec<_> = asks.collect();
            let mut answers = stream::iter(asks).buffer_unordered(AT_ONCE);
            while let Some((id, asked, answer)) = answers.next().await {
                search.heard(&name(&view, id), &asked, &answer);
                parts.extend(answer);
            }
            drop(answers);
            let has_entry = |part: &Part| !part.entries.is_empty();
            if matches!(wanted, Wanted::Key(_)) && parts.iter().any(has_entry) {
                // The others have no say in it.
                return Ok(parts);
            }
        }
        let missing = search.missing().and_then(|(partition, why, is_broken)| {
            let shard = shards.iter().find(|shard| shard.partition == partition)?;
            let shard = shard.clone();
            Some(match is_broken {
                true => QueryError::Broken { shard, why },
                false => QueryError::NoAnswer { shard, why },
            })
        });
        missing.map_or(Ok(parts), Err)
    }

    /// What one node has of the answer.
    async fn ask(
        self: &Arc<Self>,
        view: Arc<View>,
        id: MemberId,
        question: Question,
        patience: Patience,
        begun: Duration,
    ) -> (MemberId, BTreeSet<Partition>, Result<Part, String>) {
        let asked = question.partitions.clone();
        let left = WITHIN.saturating_sub(self.clock.elapsed().saturating_sub(begun));
        let api = self.clone();
        let answer = web::block(move || {
            if api.board.member() == Some(id) {
                return api.part(&question).map_err(|error| error.to_string());
            }
            let member = view.member(id).ok_or("it has left")?;
            api.peers.part(&member.join, &question, patience)
        });
        let answer = match tokio::time::timeout(left, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the time is up".to_owned()),
        };
        (id, asked, answer)
    }
}

fn name(view: &View, id: MemberId) -> String {
    let member = view.member(id);
    member.map_or_else(|| format!("member {id}"), |it| it.join.node.to_string())
}
