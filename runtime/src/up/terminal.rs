//! [`Terminal`]: the terminal while it belongs to us. It is given back when this is dropped, and also on a panic.

use std::io::stdout;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use tokio::sync::mpsc;

use super::screen::Screen;
use crate::error::Result;

/// Whether the terminal is ours now.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// How many keys may wait to be seen to.
const MAX_KEYS: usize = 16;
/// How often the thread that reads keys looks whether anybody still wants them.
const PERIOD: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Terminal {
    terminal: DefaultTerminal,
    keys: mpsc::Receiver<Key>,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Next,
    Previous,
    /// The node at this place, from 0.
    Choose(usize),
    Kill,
    /// Freeze it, or thaw it.
    Freeze,
    /// Stop it, or start it.
    Stop,
    Add,
    Quit,
    /// The window has another size.
    Redraw,
}

impl Terminal {
    /// Takes the terminal over.
    pub(crate) fn open() -> Result<Self> {
        let terminal = ratatui::try_init()?;
        IS_OURS.store(true, Ordering::Relaxed);
        let (send, keys) = mpsc::channel(MAX_KEYS);
        let reader = thread::Builder::new().name("tanist-keys".to_owned());
        reader.spawn(move || read(&send))?;
        Ok(Self { terminal, keys })
    }

    /// The next key; for ever if there is none.
    pub(crate) async fn key(&mut self) -> Key {
        match self.keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }

    /// Shows `screen`.
    pub(crate) fn draw(&mut self, screen: &Screen) -> Result<()> {
        self.terminal.draw(|frame| screen.draw(frame))?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it is ours: for whoever ends the process.
pub(crate) fn restore() {
    if IS_OURS.swap(false, Ordering::Relaxed) {
        ratatui::restore();
        // If nobody can see it, it need not be shown.
        let _ = execute!(stdout(), Show);
    }
}

fn read(keys: &mpsc::Sender<Key>) {
    while !keys.is_closed() {
        match event::poll(PERIOD) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => return,
        }
        let key = match event::read() {
            Ok(Event::Key(event)) => meaning(event),
            Ok(Event::Resize(..)) => Some(Key::Redraw),
            Ok(_) => None,
            Err(_) => return,
        };
        if let Some(key) = key {
            // Who presses keys faster than they are seen to presses some in vain.
            let _ = keys.try_send(key);
        }
    }
}

fn meaning(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    match event.code {
        KeyCode::Char('c') if control => Some(Key::Quit),
        KeyCode::Char('l') if control => Some(Key::Redraw),
        KeyCode::Char(_) if control => None,
        KeyCode::Char('q') => Some(Key::Quit),
        KeyCode::Char('k') => Some(Key::Kill),
        KeyCode::Char('f' | 't') => Some(Key::Freeze),
        KeyCode::Char('s') => Some(Key::Stop),
        KeyCode::Char('a') => Some(Key::Add),
        KeyCode::Char(digit @ '1'..='9') => Some(Key::Choose(digit as usize - '1' as usize)),
        KeyCode::Down | KeyCode::Tab => Some(Key::Next),
        KeyCode::Up | KeyCode::BackTab => Some(Key::Previous),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_help_line_says() {
        let key = |code| meaning(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(key(KeyCode::Char('k')), Some(Key::Kill));
        assert_eq!(key(KeyCode::Char('f')), Some(Key::Freeze));
        assert_eq!(key(KeyCode::Char('s')), Some(Key::Stop));
        assert_eq!(key(KeyCode::Char('a')), Some(Key::Add));
        assert_eq!(key(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('3')), Some(Key::Choose(2)));
        assert_eq!(key(KeyCode::Down), Some(Key::Next));
        let control = |key| meaning(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL));
        assert_eq!(control('c'), Some(Key::Quit));
        assert_eq!(control('k'), None, "that is another key");
    }
}
