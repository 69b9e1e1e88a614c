//! The worker's end of the protocol: blocking, one thread at a time.
//!
//! When the server is gone there is nobody to make anything for: the program ends at once.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};

use transcode_protocol::{
    FailureCode, Frame, HEADER_BYTES, Header, INITIAL_CREDIT_BYTES, Job, WorkerFailure,
};

/// Exit code when the server went away or broke the protocol.
const EXIT_SERVER_GONE: i32 = 3;
/// Ranges are asked for in blocks of this size …
const BLOCK_BYTES: u64 = 256 << 10;
/// … and this many are kept, because sound and picture often lie apart.
const BLOCKS_KEPT: usize = 24;
/// Output is sent in pieces of this size.
const OUTPUT_BYTES: usize = 256 << 10;

/// The socket to the server.
pub(crate) struct Channel {
    socket: UnixStream,
    credit_bytes: u64,
    /// Of the original, for all who read it. Most recently used last.
    blocks: Vec<(u64, Vec<u8>)>,
}

impl Channel {
    /// Takes standard input, if that is a socket.
    pub(crate) fn from_stdin() -> Option<Self> {
        // SAFETY: fstat writes one stat structure, which is plain data.
        let is_socket = unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            libc::fstat(0, &mut status) == 0 && status.st_mode & libc::S_IFMT == libc::S_IFSOCK
        };
        // SAFETY: descriptor 0 is open (just checked), and nothing else in this program uses it.
        is_socket.then(|| Self {
            socket: unsafe { UnixStream::from_raw_fd(0) },
            credit_bytes: INITIAL_CREDIT_BYTES,
            blocks: Vec::new(),
        })
    }

    /// The first frame.
    pub(crate) fn job(&mut self) -> Job {
        match self.receive() {
            Frame::Job(job) => *job,
            _ => server_gone(),
        }
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        let bytes = frame.encode().unwrap_or_else(|error| {
            let code = FailureCode::Internal;
            let message = format!("a {:?} frame could not be sent: {error}", frame.kind());
            let failure = Frame::Failed(WorkerFailure { code, message });
            failure.encode().expect("a short failure always fits a frame")
        });
        if self.socket.write_all(&bytes).is_err() {
            server_gone();
        }
    }

    fn receive(&mut self) -> Frame {
        self.try_receive().unwrap_or_else(|_| server_gone())
    }

    fn try_receive(&mut self) -> io::Result<Frame> {
        let mut header = [0; HEADER_BYTES];
        self.socket.read_exact(&mut header)?;
        let header = Header::parse(&header).map_err(io::Error::other)?;
        let mut payload = vec![0; header.payload_bytes as usize];
        self.socket.read_exact(&mut payload)?;
        Frame::decode(header.kind, &payload).map_err(io::Error::other)
    }

    /// Asks for a range and waits for exactly it.
    fn range(&mut self, offset: u64, len: u32) -> Vec<u8> {
        self.send(&Frame::Range { offset, len });
        loop {
            match self.receive() {
                Frame::Credit { bytes } => self.credit_bytes += bytes,
                Frame::Bytes { offset: at, data } if at == offset && data.len() == len as usize => {
                    return data;
                }
                _ => server_gone(),
            }
        }
    }

    /// A block of an original of `size_bytes`.
    fn block(&mut self, index: u64, size_bytes: u64) -> &[u8] {
        match self.blocks.iter().position(|(kept, _)| *kept == index) {
            Some(at) => {
                let block = self.blocks.remove(at);
                self.blocks.push(block);
            }
            None => {
                if self.blocks.len() >= BLOCKS_KEPT {
                    self.blocks.remove(0);
                }
                let offset = index * BLOCK_BYTES;
                let len = BLOCK_BYTES.min(size_bytes - offset) as u32;
                let data = self.range(offset, len);
                self.blocks.push((index, data));
            }
        }
        &self.blocks.last().expect("one was just pushed").1
    }

    /// Sends a piece of output, waiting for credit first.
    fn output(&mut self, name: &str, data: &[u8]) {
        for piece in data.chunks(OUTPUT_BYTES) {
            let bytes = piece.len() as u64;
            while self.credit_bytes < bytes {
                match self.receive() {
                    Frame::Credit { bytes } => self.credit_bytes += bytes,
                    _ => server_gone(),
                }
            }
            self.credit_bytes -= bytes;
            self.send(&Frame::Output { name: name.to_owned(), data: piece.to_vec() });
        }
    }
}

fn server_gone() -> ! {
    std::process::exit(EXIT_SERVER_GONE)
}

/// The channel as libav's callbacks share it.
#[derive(Clone)]
pub(crate) struct SharedChannel {
    channel: Arc<Mutex<Channel>>,
    size_bytes: u64,
}

impl SharedChannel {
    pub(crate) fn new(channel: Channel, size_bytes: u64) -> Self {
        Self { channel: Arc::new(Mutex::new(channel)), size_bytes }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn send(&self, frame: &Frame) {
        self.lock().send(frame);
    }

    /// Sends a whole output that is in memory.
    pub(crate) fn output(&self, name: &str, data: &[u8]) {
        self.lock().output(name, data);
    }

    /// The original as something to read and seek in.
    pub(crate) fn reader(&self) -> RangeReader {
        self.reader_of(0..self.size_bytes)
    }

    /// Bytes of it as something of its own to read and seek in.
    pub(crate) fn reader_of(&self, bytes: Range<u64>) -> RangeReader {
        let end = bytes.end.min(self.size_bytes);
        let (start, size_bytes) = (bytes.start, end.saturating_sub(bytes.start));
        RangeReader { channel: self.clone(), start, size_bytes, position: 0 }
    }

    /// An output as something to write to.
    pub(crate) fn writer(&self, name: &'static str) -> OutputWriter {
        OutputWriter { channel: self.clone(), name }
    }

    fn lock(&self) -> MutexGuard<'_, Channel> {
        self.channel
            .lock()
            .expect("one thread at a time uses the channel, and a panic ends the program")
    }
}

/// Reads the original block by block; the channel keeps a few.
pub(crate) struct RangeReader {
    channel: SharedChannel,
    /// Where in the original it begins.
    start: u64,
    size_bytes: u64,
    position: u64,
}

impl RangeReader {
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Reads exactly at `offset`; `None` where the file ends before.
    pub(crate) fn exact_at<const N: usize>(&mut self, offset: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.position = offset;
        self.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size_bytes || buffer.is_empty() {
            return Ok(0);
        }
        let (position, left) = (self.start + self.position, self.size_bytes - self.position);
        let mut channel = self.channel.lock();
        let block = channel.block(position / BLOCK_BYTES, self.channel.size_bytes);
        let rest = &block[(position % BLOCK_BYTES) as usize..];
        let count = rest.len().min(buffer.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
        buffer[..count].copy_from_slice(&rest[..count]);
        drop(channel);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for RangeReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size_bytes.checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Writes an output to the server.
pub(crate) struct OutputWriter {
    channel: SharedChannel,
    name: &'static str,
}

impl Write for OutputWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.channel.output(self.name, data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
