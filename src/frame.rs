//! Frames of RFC 6455, as a server reads and writes them. Pure: bytes in, bytes out.
//!
//! A client's data is not kept: it is counted against the limit and forgotten, so a session buffers at most one control
//! frame, whatever a frame's header announces.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Most payload of a control frame.
pub const MOST_CONTROL: usize = 125;

/// Longest header of a frame from a client: 2 bytes, 8 of length, 4 of mask.
const MOST_HEADER: usize = 14;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A ping, to be answered with the same payload.
    Ping(Payload),
    /// A pong.
    Pong,
    /// A close, to be echoed: its payload as it came.
    Close(Payload),
    /// A message of more bytes than allowed.
    TooBig,
    /// Something no client may send.
    Violation(&'static str),
}

/// The payload of a control frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    bytes: [u8; MOST_CONTROL],
    length: u8,
}

impl Payload {
    const EMPTY: Self = Self { bytes: [0; MOST_CONTROL], length: 0 };

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.length)) {
            *slot = byte;
            self.length += 1;
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_slice())
    }
}

/// Takes a client's bytes apart, in whatever pieces they come.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    state: State,
    /// Bytes of the unfinished fragmented message; `None` if there is none.
    message: Option<usize>,
}

#[derive(Debug)]
enum State {
    Header {
        bytes: [u8; MOST_HEADER],
        length: u8,
    },
    Data {
        left: usize,
        ends_message: bool,
    },
    Control(Box<Control>),
    /// What follows a violation has no meaning.
    Deaf,
}

#[derive(Debug)]
struct Control {
    opcode: u8,
    mask: [u8; 4],
    left: usize,
    payload: Payload,
}

impl Decoder {
    pub fn new(max_message: usize) -> Self {
        Self { max_message, state: State::BEGIN, message: None }
    }

    /// Takes bytes off `input` until something was said or they are used up. After [`Heard::TooBig`] or a broken header
    /// nothing more is heard.
    pub fn hear(&mut self, input: &mut &[u8]) -> Option<Heard> {
        loop {
            match &mut self.state {
                State::Header { bytes, length } => {
                    let needed = usize::from(header_length(bytes, *length));
                    if usize::from(*length) < needed {
                        let (byte, rest) = input.split_first()?;
                        *input = rest;
                        if let Some(slot) = bytes.get_mut(usize::from(*length)) {
                            *slot = *byte;
                            *length += 1;
                        }
                        continue;
                    }
                    let header = *bytes;
                    match self.begin(&header) {
                        Ok(state) => self.state = state,
                        Err(heard) => {
                            self.state = State::Deaf;
                            return Some(heard);
                        }
                    }
                }
                State::Deaf => {
                    *input = &[];
                    return None;
                }
                State::Data { left, ends_message } => {
                    let skipped = (*left).min(input.len());
                    *input = input.get(skipped..).unwrap_or_default();
                    *left -= skipped;
                    if *left > 0 {
                        return None;
                    }
                    if *ends_message {
                        self.message = None;
                    }
                    self.state = State::BEGIN;
                }
                State::Control(control) => {
                    while control.left > 0 {
                        let (byte, rest) = input.split_first()?;
                        *input = rest;
                        let at = usize::from(control.payload.length) % control.mask.len();
                        control.payload.push(byte ^ control.mask.get(at).copied().unwrap_or_default());
                        control.left -= 1;
                    }
                    let (opcode, payload) = (control.opcode, control.payload);
                    self.state = State::BEGIN;
                    return Some(match opcode {
                        PING => Heard::Ping(payload),
                        PONG => Heard::Pong,
                        _ => close(payload),
                    });
                }
            }
        }
    }

    /// What follows a whole header.
    fn begin(&mut self, header: &[u8; MOST_HEADER]) -> Result<State, Heard> {
        let [first, second, rest @ ..] = header;
        if first & RESERVED != 0 {
            return Err(Heard::Violation("reserved bits set"));
        }
        if second & MASKED == 0 {
            return Err(Heard::Violation("unmasked frame"));
        }
        let (length, mask_at) = match second & !MASKED {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&rest[..8]);
                (u64::from_be_bytes(bytes), 8)
            }
            short => (u64::from(short), 0),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (is_final, opcode) = (first & FINAL != 0, first & !FINAL);
        match (opcode, self.message) {
            (CLOSE | PING | PONG, _) => {
                if !is_final || length > MOST_CONTROL {
                    return Err(Heard::Violation("control frame fragmented or too long"));
                }
                let mut mask = [0; 4];
                mask.copy_from_slice(&rest[mask_at..mask_at + 4]);
                Ok(State::Control(Box::new(Control { opcode, mask, left: length, payload: Payload::EMPTY })))
            }
            (TEXT | BINARY, Some(_)) => Err(Heard::Violation("a message begins inside another")),
            (CONTINUATION, None) => Err(Heard::Violation("a continuation of no message")),
            (TEXT | BINARY | CONTINUATION, so_far) => {
                let message = so_far.unwrap_or_default().saturating_add(length);
                if message > self.max_message {
                    return Err(Heard::TooBig);
                }
                self.message = Some(message);
                Ok(State::Data { left: length, ends_message: is_final })
            }
            _ => Err(Heard::Violation("unknown opcode")),
        }
    }
}

impl State {
    const BEGIN: Self = Self::Header { bytes: [0; MOST_HEADER], length: 0 };
}

/// Bytes of a header, as far as its first two say.
fn header_length(bytes: &[u8; MOST_HEADER], have: u8) -> u8 {
    let [_, second, ..] = bytes;
    if have < 2 {
        return 2;
    }
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    match second & !MASKED {
        126 => 4 + mask,
        127 => 10 + mask,
        _ => 2 + mask,
    }
}

/// A close frame's payload: nothing, or a code a peer may send and a text.
fn close(payload: Payload) -> Heard {
    match payload.as_slice() {
        [] => Heard::Close(payload),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                Heard::Violation("bad close code")
            } else if std::str::from_utf8(text).is_err() {
                Heard::Violation("close reason is no UTF-8")
            } else {
                Heard::Close(payload)
            }
        }
        _ => Heard::Violation("half a close code"),
    }
}

/// The whole frame of a text message as a server sends it: unmasked, unfragmented.
pub fn text_frame(text: &[u8]) -> Bytes {
    let mut frame = start_text_frame(text.len());
    frame.put_slice(text);
    frame.freeze()
}

/// The header of such a frame, with room for the `length` bytes of text that the caller adds.
pub fn start_text_frame(length: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(length + 10);
    frame.put_u8(FINAL | TEXT);
    // Lengths up to 125 stand in the second byte; 126 and 127 say that 2 or 8 bytes follow.
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frame.put_u8(short),
        (_, Ok(medium)) => {
            frame.put_u8(126);
            frame.put_u16(medium);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame
}

/// A ping without payload.
pub const EMPTY_PING: [u8; 2] = [FINAL | PING, 0];

/// Appends a pong.
pub fn put_pong(out: &mut Vec<u8>, payload: &Payload) {
    put_control(out, PONG, payload.as_slice());
}

/// Appends a close frame with a payload as a client sent it.
pub fn put_close_echo(out: &mut Vec<u8>, payload: &Payload) {
    put_control(out, CLOSE, payload.as_slice());
}

/// Appends a close frame. Of the reason as much as fits goes out.
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut payload = code.to_be_bytes().to_vec();
    let mut fits = reason.len().min(MOST_CONTROL - payload.len());
    while !reason.is_char_boundary(fits) {
        fits -= 1;
    }
    payload.extend_from_slice(reason.as_bytes().get(..fits).unwrap_or_default());
    put_control(out, CLOSE, &payload);
}

fn put_control(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(FINAL | opcode);
    out.push(u8::try_from(payload.len()).unwrap_or(0));
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            length @ 0..126 => out.push(MASKED | length as u8),
            length @ 126..65_536 => {
                out.push(MASKED | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(MASKED | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn say(heard: Heard) -> String {
        match heard {
            Heard::Ping(payload) => format!("ping {}", String::from_utf8_lossy(payload.as_slice())),
            Heard::Pong => "pong".to_owned(),
            Heard::Close(payload) => format!("close {:?}", payload.as_slice()),
            Heard::TooBig => "too big".to_owned(),
            Heard::Violation(what) => what.to_owned(),
        }
    }

    /// What is heard, with the bytes in pieces of every size.
    fn check(frames: &[Vec<u8>], expected: &[&str]) {
        let bytes = frames.concat();
        for piece in 1..=bytes.len() {
            let mut decoder = Decoder::new(64);
            let mut heard = Vec::new();
            'input: for mut chunk in bytes.chunks(piece) {
                while let Some(next) = decoder.hear(&mut chunk) {
                    let ends = matches!(next, Heard::TooBig | Heard::Violation(_));
                    heard.push(say(next));
                    if ends {
                        break 'input;
                    }
                }
                assert!(chunk.is_empty());
            }
            assert_eq!(heard, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn control_frames_are_heard_and_data_is_not() {
        check(
            &[
                client_frame(FINAL | PING, b"abc"),
                client_frame(FINAL | TEXT, &[b'x'; 64]),
                client_frame(FINAL | PONG, b""),
                client_frame(FINAL | BINARY, b""),
                client_frame(FINAL | PING, &[b'y'; 125]),
                client_frame(FINAL | CLOSE, b"\x03\xe8bye"),
            ],
            &["ping abc", "pong", &format!("ping {}", "y".repeat(125)), "close [3, 232, 98, 121, 101]"],
        );
        check(&[client_frame(FINAL | CLOSE, b"")], &["close []"]);
    }

    #[test]
    fn a_message_is_counted_over_its_fragments() {
        check(
            &[
                client_frame(TEXT, &[0; 32]),
                client_frame(FINAL | PING, b""),
                client_frame(FINAL, &[0; 32]),
                client_frame(FINAL | TEXT, &[0; 64]),
            ],
            &["ping "],
        );
        check(&[client_frame(TEXT, &[0; 32]), client_frame(FINAL, &[0; 33])], &["too big"]);
        check(&[client_frame(FINAL | TEXT, &[0; 65])], &["too big"]);
        check(&[client_frame(FINAL | BINARY, &[0; 300])], &["too big"]);
    }

    #[test]
    fn a_huge_frame_is_refused_by_its_header() {
        let mut decoder = Decoder::new(64);
        let mut header: &[u8] =
            &[FINAL | TEXT, MASKED | 127, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0];
        assert_eq!(decoder.hear(&mut header), Some(Heard::TooBig));
        let more = client_frame(FINAL | PING, b"abc");
        assert_eq!(decoder.hear(&mut more.as_slice()), None, "and nothing is heard any more");
    }

    #[test]
    fn what_no_client_may_send() {
        check(&[vec![FINAL | TEXT, 1, b'x']], &["unmasked frame"]);
        check(&[client_frame(FINAL | 0x40 | TEXT, b"")], &["reserved bits set"]);
        check(&[client_frame(FINAL | 3, b"")], &["unknown opcode"]);
        check(&[client_frame(FINAL, b"")], &["a continuation of no message"]);
        check(&[client_frame(TEXT, b""), client_frame(TEXT, b"")], &["a message begins inside another"]);
        check(&[client_frame(PING, b"")], &["control frame fragmented or too long"]);
        check(&[client_frame(FINAL | PING, &[0; 126])], &["control frame fragmented or too long"]);
        check(&[client_frame(FINAL | CLOSE, b"\x03")], &["half a close code"]);
        check(&[client_frame(FINAL | CLOSE, b"\x03\xed")], &["bad close code"]);
        check(&[client_frame(FINAL | CLOSE, b"\x03\xe8\xff")], &["close reason is no UTF-8"]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        put_close(&mut out, 4001, &"ä".repeat(80));
        assert_eq!(out.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    fn frames_of_all_lengths_have_the_shortest_header() {
        fn header(length: usize) -> Vec<u8> {
            let frame = text_frame(&vec![b'x'; length]);
            frame[..frame.len() - length].to_vec()
        }
        assert_eq!(header(0), [0x81, 0]);
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(65_535), [0x81, 126, 0xff, 0xff]);
        assert_eq!(header(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
