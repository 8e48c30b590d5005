//! [`Face`]: where it is shown what happens: in the terminal, or as lines.

use super::event::Event;
use super::order::{Act, Order, State};
use super::screen::{Around, Screen};
use super::terminal::{Key, Terminal};
use super::view::View;
use crate::error::Result;

/// See the module.
pub(crate) enum Face {
    Terminal(Box<Stage>),
    Lines(WriteEvent),
}

/// Writes an event as a line.
pub(crate) type WriteEvent = Box<dyn Fn(&Event) -> Result<()>>;

/// The terminal, and what is shown there beside the view.
pub(crate) struct Stage {
    terminal: Terminal,
    title: String,
    notice: String,
    /// The place of the node that keys act on.
    chosen: usize,
    shown: Option<Screen>,
}

impl Face {
    /// Takes the terminal over.
    pub(crate) fn terminal(title: String) -> Result<Self> {
        Ok(Self::Terminal(Box::new(Stage {
            terminal: Terminal::open()?,
            title,
            notice: String::new(),
            chosen: 0,
            shown: None,
        })))
    }

    /// The next key that is pressed; for ever where there are none.
    pub(super) async fn key(&mut self) -> Key {
        match self {
            Self::Terminal(stage) => stage.terminal.key().await,
            Self::Lines(_) => std::future::pending().await,
        }
    }

    /// What a key asks for, if that is an order.
    pub(super) fn order(&mut self, key: Key, view: &View) -> Option<Order> {
        let Self::Terminal(stage) = self else {
            return None;
        };
        let last = view.len().saturating_sub(1);
        match key {
            Key::Next => stage.chosen = (stage.chosen + 1).min(last),
            Key::Previous => stage.chosen = stage.chosen.saturating_sub(1),
            Key::Choose(place) => stage.chosen = place.min(last),
            Key::Redraw => stage.shown = None,
            Key::Add => return Some(Order::Add),
            Key::Quit => {}
            Key::Kill | Key::Freeze | Key::Stop => {
                let (node, state) = view.node(stage.chosen)?;
                return Some(Order::Node(act(key, state)?, node.clone()));
            }
        }
        None
    }

    /// Whether it cannot show how things are at present.
    pub(super) fn is_lines(&self) -> bool {
        matches!(self, Self::Lines(_))
    }

    /// Says what an order has come to.
    pub(super) fn notice(&mut self, text: String) {
        if let Self::Terminal(stage) = self {
            stage.notice = text;
        }
    }

    /// Shows what has happened, and how things are.
    pub(super) fn show(&mut self, events: &[Event], view: &View) -> Result<()> {
        match self {
            Self::Terminal(stage) => stage.draw(view),
            Self::Lines(line) => events.iter().try_for_each(line),
        }
    }
}

impl Stage {
    fn draw(&mut self, view: &View) -> Result<()> {
        let screen = view.screen(&Around {
            title: &self.title,
            notice: &self.notice,
            chosen: self.chosen,
        });
        if self.shown.as_ref() != Some(&screen) {
            self.terminal.draw(&screen)?;
            self.shown = Some(screen);
        }
        Ok(())
    }
}

/// What a key means for a node that is in this state.
fn act(key: Key, state: State) -> Option<Act> {
    match (key, state) {
        (Key::Kill, _) => Some(Act::Kill),
        (Key::Freeze, State::Frozen) => Some(Act::Thaw),
        (Key::Freeze, _) => Some(Act::Freeze),
        (Key::Stop, State::Ended(_)) => Some(Act::Start),
        (Key::Stop, _) => Some(Act::Stop),
        _ => None,
    }
}
