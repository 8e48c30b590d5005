//! One client's connection: its requests one after the other, as Kafka does it, each under the faults that are ordered
//! for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, FetchRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::request::{MAX_REQUEST_BYTES, ProtocolError, Request};
use super::{Turn, clock, dispatch, fetch};
use crate::core::{Core, Millis};
use crate::error::BrokerError;
use crate::faults::{Fault, millis};
use crate::hub::{Hub, Mode, When};

/// How much is read at once at least, if it is there.
const READ_BYTES: usize = 16 * 1024;

/// What becomes of a request.
enum Fate {
    Answered(Bytes),
    Silent,
    Cut,
}

impl From<Option<Bytes>> for Fate {
    fn from(answer: Option<Bytes>) -> Self {
        answer.map_or(Self::Silent, Self::Answered)
    }
}

pub(super) struct Connection {
    pub(super) hub: Arc<Hub>,
    /// Where this broker is reached.
    pub(super) address: SocketAddr,
    pub(super) stream: TcpStream,
    /// Bytes that were read and are no whole request yet.
    pub(super) unread: BytesMut,
}

impl Connection {
    /// Serves until the client leaves, breaks the protocol or is cut off. `on_client` is told who it is.
    pub(super) async fn serve(
        mut self,
        on_client: impl Fn(&Arc<str>),
    ) -> Result<(), ProtocolError> {
        self.stream.set_nodelay(true)?;
        while let Some(frame) = self.read_frame().await? {
            let request = Request::parse(frame)?;
            on_client(&request.client);
            self.while_running().await;
            let waiting = self.hub.waiting_for(request.api, &request.client);
            let fate = self.suffer(&request).await?;
            self.hub
                .do_waiting(request.api, &request.client, waiting, clock::now());
            self.while_running().await;
            match fate {
                Fate::Answered(answer) => self.stream.write_all(&answer).await?,
                Fate::Silent => {}
                Fate::Cut => return Ok(()),
            }
        }
        Ok(())
    }

    /// The next request without its length; none if the client has left.
    async fn read_frame(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        loop {
            let mut needed = 4;
            if let Some(mut length) = self.unread.get(..4) {
                let size = usize::try_from(length.get_i32()).unwrap_or(usize::MAX);
                if size > MAX_REQUEST_BYTES {
                    return Err(ProtocolError::TooLarge(size));
                }
                needed += size;
                if self.unread.len() >= needed {
                    self.unread.advance(4);
                    return Ok(Some(self.unread.split_to(size).freeze()));
                }
            }
            self.unread
                .reserve((needed - self.unread.len()).max(READ_BYTES));
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn while_running(&self) {
        // Fails only once the hub is gone, and it is ours.
        let _ = self
            .hub
            .modes()
            .wait_for(|mode| *mode == Mode::Running)
            .await;
    }

    /// Does the request under the fault that is ordered for it, if any.
    async fn suffer(&self, request: &Request) -> Result<Fate, ProtocolError> {
        let fate = match self.hub.faults.decide(request.api, &request.client) {
            None => {
                self.wait_for_records(request).await?;
                self.answer(request, None)?.into()
            }
            Some(Fault::LoseRequest) => Fate::Silent,
            Some(Fault::CutBefore) => Fate::Cut,
            Some(Fault::Refuse(error)) => self.answer(request, Some(error))?.into(),
            Some(Fault::Late) => self.put_off(request, When::AfterNext),
            Some(Fault::LateBy(span)) => {
                self.put_off(request, When::At(clock::now().plus(millis(span))))
            }
            Some(Fault::Delay(span)) => {
                tokio::time::sleep(span).await;
                self.answer(request, None)?.into()
            }
            Some(Fault::DelayAnswer(span)) => {
                let answer = self.answer(request, None)?;
                tokio::time::sleep(span).await;
                answer.into()
            }
            Some(Fault::Twice) => {
                let first = self.answer(request, None)?;
                self.answer(request, None)?;
                first.into()
            }
            Some(Fault::LoseAnswer) => {
                self.answer(request, None)?;
                Fate::Silent
            }
            Some(Fault::CutAfter) => {
                self.answer(request, None)?;
                Fate::Cut
            }
            Some(fault @ (Fault::DelayMarkers(_) | Fault::DelayRecordMarkers(_))) => {
                let held = fault.held().unwrap_or_default();
                let answer = |core: &mut Core| self.answer_by(core, request, None);
                self.hub.with_markers_held(held, answer)?.into()
            }
        };
        Ok(fate)
    }

    fn answer(
        &self,
        request: &Request,
        refusal: Option<BrokerError>,
    ) -> Result<Option<Bytes>, ProtocolError> {
        self.hub.with(|core| self.answer_by(core, request, refusal))
    }

    fn answer_by(
        &self,
        core: &mut Core,
        request: &Request,
        refusal: Option<BrokerError>,
    ) -> Result<Option<Bytes>, ProtocolError> {
        let mut turn = Turn {
            core,
            now: clock::now(),
            address: self.address,
            refusal,
        };
        dispatch::answer(&mut turn, request)
    }

    fn put_off(&self, request: &Request, when: When) -> Fate {
        let (address, put_off) = (self.address, request.clone());
        let work = move |core: &mut Core, now: Millis| {
            let mut turn = Turn {
                core,
                now,
                address,
                refusal: None,
            };
            // Nobody waits for the answer any more.
            let _ = dispatch::answer(&mut turn, &put_off);
        };
        self.hub.put_off(request.api, &request.client, when, work);
        Fate::Silent
    }

    /// A fetch waits until there is enough for it, or for as long as it says.
    async fn wait_for_records(&self, request: &Request) -> Result<(), ProtocolError> {
        if request.api != ApiKey::Fetch || !dispatch::is_spoken(request.api, request.version) {
            return Ok(());
        }
        let fetch: FetchRequest = request.decode()?;
        let mut changes = self.hub.changes();
        let enough = async {
            loop {
                changes.borrow_and_update();
                if self.hub.with(|core| fetch::is_ready(core, &fetch))
                    || changes.changed().await.is_err()
                {
                    return;
                }
            }
        };
        let longest = Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0));
        // Time is up: the answer is whatever there is.
        let _ = tokio::time::timeout(longest, enough).await;
        Ok(())
    }
}
