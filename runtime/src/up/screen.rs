//! [`Screen`]: what is shown in the terminal, as a value; and how it is drawn.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use tanist_cluster::{GroupName, NodeName, ShardId};

use super::event::{Event, time_of_day};
use super::order::State;
use super::view::{Copy, NodeView, Part, View};
use crate::http::total;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    title: String,
    totals: String,
    nodes: Vec<NodeRow>,
    grids: Vec<Grid>,
    events: Vec<(String, Tone)>,
    /// The last line but one: what an order has come to.
    notice: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeRow {
    is_chosen: bool,
    text: String,
    tone: Tone,
}

/// The shards of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grid {
    group: GroupName,
    columns: Vec<Column>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    partition: i32,
    /// On each node, in their order.
    copies: Vec<(NodeName, String, Tone)>,
    rate: String,
    lag: String,
}

/// How something is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Standby,
    Bad,
    Frozen,
    Faint,
}

/// What is shown around what the view knows.
pub(crate) struct Around<'a> {
    pub(crate) title: &'a str,
    pub(crate) notice: &'a str,
    /// The place of the node that keys act on.
    pub(crate) chosen: usize,
}

const HELP: &str =
    "1-9 or arrows choose a node; k kill  f freeze, thaw  s stop, start  a add  q quit";
/// Columns left of the shards.
const MARGIN: u16 = 12;
/// Columns of a shard.
const COLUMN: u16 = 7;
/// Lines that the timeline has at least.
const MIN_EVENTS: u16 = 5;

impl View {
    /// As it is to be shown.
    pub(crate) fn screen(&self, around: &Around<'_>) -> Screen {
        let nodes = self.nodes.iter().enumerate();
        Screen {
            title: around.title.to_owned(),
            totals: self.totals(),
            nodes: nodes
                .map(|(place, node)| node.row(place == around.chosen))
                .collect(),
            grids: self.grids(),
            events: self
                .events
                .iter()
                .filter(|event| !event.is_detail())
                .flat_map(event_lines)
                .collect(),
            notice: around.notice.to_owned(),
        }
    }

    /// Of all nodes, on one line.
    pub(super) fn totals(&self) -> String {
        let nodes = || self.nodes.iter().filter(|node| !node.is_stale());
        let told = || nodes().filter_map(|node| node.told.as_ref());
        let sent = self.sent.records.map(|records| {
            format!(
                "sent {}/s, {} in all; ",
                rate(self.sent.per_second),
                thousands(records)
            )
        });
        let sent = sent.unwrap_or_default();
        if told().next().is_none() {
            return format!("{sent}no node answers");
        }
        let processed = total(told().map(|told| told.records_per_second));
        let broker = match told().all(|told| told.broker_reachable) {
            true => "",
            false => "; the broker does not answer",
        };
        format!(
            "{sent}processed {}/s, lag {}{broker}",
            known_rate(processed),
            lag(self.lag_records()),
        )
    }

    fn grids(&self) -> Vec<Grid> {
        let mut groups: BTreeMap<&GroupName, Vec<Column>> = BTreeMap::new();
        for shard in &self.shards {
            groups
                .entry(&shard.group)
                .or_default()
                .push(self.column(shard));
        }
        let grids = groups.into_iter().map(|(group, columns)| Grid {
            group: group.clone(),
            columns,
        });
        grids.collect()
    }

    fn column(&self, shard: &ShardId) -> Column {
        let copy = |node: &NodeView| {
            let copy = node.told.as_ref().and_then(|told| told.shards.get(shard));
            let (text, tone) =
                copy.map_or_else(|| (".".to_owned(), Tone::Faint), |copy| cell(copy, node));
            (node.name.clone(), text, tone)
        };
        let at_work = self.nodes.iter().find_map(|node| {
            let copy = node.told.as_ref()?.shards.get(shard)?;
            (!node.is_stale() && copy.part.is_active()).then_some(copy)
        });
        Column {
            partition: shard.partition.0,
            copies: self.nodes.iter().map(copy).collect(),
            rate: at_work.map_or_else(String::new, |copy| known_rate(copy.records_per_second)),
            lag: at_work.map_or_else(String::new, |copy| lag(copy.lag_records)),
        }
    }
}

impl NodeView {
    fn row(&self, is_chosen: bool) -> NodeRow {
        let state = match (self.state, &self.told) {
            (State::Running, _) if self.silent => "silent".to_owned(),
            (State::Running, None) => "starting".to_owned(),
            (state, _) => state.to_string(),
        };
        let tone = match (self.state, self.silent, &self.told) {
            (State::Frozen, ..) => Tone::Frozen,
            (State::Running, false, Some(_)) => Tone::Good,
            (State::Running, ..) | (State::Stopping, ..) => Tone::Plain,
            (State::Killed | State::Ended(_), ..) => Tone::Bad,
        };
        let (member, rates) = self.told.as_ref().map_or_else(Default::default, |told| {
            let member = told.member.map(|member| format!("member {member}"));
            let rates = match self.is_stale() {
                true => String::new(),
                false => format!(
                    "{}/s, lag {}",
                    known_rate(told.records_per_second),
                    lag(told.lag_records)
                ),
            };
            (member.unwrap_or_default(), rates)
        });
        let name = &self.name;
        let log = self.log.display();
        NodeRow {
            is_chosen,
            text: format!("{name:<9}{state:<16} {member:<12} {rates:<22} {log}"),
            tone,
        }
    }
}

impl Part {
    fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::Busy)
    }
}

fn cell(copy: &Copy, node: &NodeView) -> (String, Tone) {
    let (text, tone) = match copy.part {
        Part::Active => ("active", Tone::Good),
        Part::Busy => ("busy", Tone::Plain),
        Part::Standby => ("stdby", Tone::Standby),
        Part::Filling => ("fills", Tone::Plain),
        Part::Warmup => ("warm", Tone::Standby),
        Part::Going => ("goes", Tone::Faint),
        Part::Broken => ("BROKEN", Tone::Bad),
    };
    let tone = if node.is_stale() { Tone::Faint } else { tone };
    (text.to_owned(), tone)
}

fn event_lines(event: &Event) -> Vec<(String, Tone)> {
    let tone = match &*event.kind {
        "killed" | "ended" | "dead" | "refused" | "not_drained" | "data_gone" => Tone::Bad,
        "frozen" => Tone::Frozen,
        "took_over" => Tone::Good,
        _ => Tone::Plain,
    };
    let text = format!("{} {event}", time_of_day(event.at_ms));
    text.lines().map(|line| (line.to_owned(), tone)).collect()
}

fn rate(per_second: f64) -> String {
    thousands(per_second.round() as u64)
}

fn known_rate(per_second: Option<f64>) -> String {
    per_second.map_or_else(|| "-".to_owned(), rate)
}

fn lag(records: Option<u64>) -> String {
    records.map_or_else(|| "?".to_owned(), thousands)
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => Style::new().fg(Color::Green),
            Self::Standby => Style::new().fg(Color::Blue),
            Self::Bad => Style::new().fg(Color::Red),
            Self::Frozen => Style::new().fg(Color::Cyan),
            Self::Faint => Style::new().add_modifier(Modifier::DIM),
        }
    }
}

impl Screen {
    /// Draws it over all of `frame`. What finds no place is left out: of the events the oldest, of the shards the last.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let top = self.top(area.width);
        let most = area.height.saturating_sub(MIN_EVENTS + 3).max(1);
        let [top_area, events_area, notice_area, help_area] = Layout::vertical([
            Constraint::Length((top.len() as u16).min(most)),
            Constraint::Min(0),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(area);
        frame.render_widget(Paragraph::new(top), top_area);
        self.draw_events(frame, events_area);
        frame.render_widget(Paragraph::new(&*self.notice), notice_area);
        let help = Paragraph::new(HELP).style(Tone::Faint.style());
        frame.render_widget(help, help_area);
    }

    fn top(&self, width: u16) -> Vec<Line<'_>> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut lines = vec![
            Line::styled(&*self.title, bold),
            Line::raw(&*self.totals),
            Line::raw(""),
        ];
        for (number, node) in (1..).zip(&self.nodes) {
            let mark = if node.is_chosen { '>' } else { ' ' };
            let text = format!("{mark}{number} {}", node.text);
            lines.push(Line::styled(text, node.tone.style()));
        }
        let columns = usize::from(width.saturating_sub(MARGIN) / COLUMN).max(1);
        for grid in &self.grids {
            for columns in grid.columns.chunks(columns) {
                lines.push(Line::raw(""));
                lines.push(Line::styled(format!("   {}", grid.group), bold));
                grid_lines(columns, &mut lines);
            }
        }
        lines
    }

    fn draw_events(&self, frame: &mut Frame<'_>, area: Rect) {
        let room = usize::from(area.height.saturating_sub(1));
        let first = self.events.len().saturating_sub(room);
        let lines: Vec<Line<'_>> = self.events[first..]
            .iter()
            .map(|(text, tone)| Line::styled(&**text, tone.style()))
            .collect();
        let block = Block::new()
            .borders(Borders::TOP)
            .title("what happened (UTC) ");
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

fn grid_lines(columns: &[Column], lines: &mut Vec<Line<'_>>) {
    let mut row = |name: &str, cell: &dyn Fn(&Column) -> (String, Tone)| {
        let mut spans = vec![Span::raw(format!("   {name:<0$}", usize::from(MARGIN) - 3))];
        spans.extend(columns.iter().map(|column| {
            let (text, tone) = cell(column);
            Span::styled(format!("{text:>0$}", usize::from(COLUMN)), tone.style())
        }));
        lines.push(Line::from(spans));
    };
    row("shard", &|column| {
        (column.partition.to_string(), Tone::Faint)
    });
    let nodes = columns.first().map_or(&[][..], |column| &column.copies);
    for (place, (node, ..)) in nodes.iter().enumerate() {
        row(node.as_str(), &|column| {
            let (_, text, tone) = &column.copies[place];
            (text.clone(), *tone)
        });
    }
    row("records/s", &|column| (column.rate.clone(), Tone::Plain));
    row("lag", &|column| (column.lag.clone(), Tone::Plain));
}

/// With a comma between each three digits.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
