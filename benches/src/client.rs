//! One lean tus client for every server, so that what differs is the server: blocking, no TLS, no hashing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a client writes at once.
const WRITE_BYTES: usize = 1 << 20;

/// A server's upload endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) token: String,
}

/// Uploads `size` bytes that no other upload has, in requests of at most `patch` bytes; gives how long the answer took
/// after the last byte was handed to the socket.
pub(crate) fn upload(endpoint: &Endpoint, size: u64, patch: u64, seed: u64) -> Result<Duration> {
    let mut connection = Connection::open(endpoint)?;
    let location = connection.create(&format!("Upload-Length: {size}\r\n"))?;
    let mut offset = 0;
    let mut last = Duration::ZERO;
    while offset < size {
        let length = patch.min(size - offset);
        last = connection.patch(&location, offset, length, seed)?;
        offset += length;
    }
    Ok(last)
}

/// Uploads `size` bytes in `parts` partial uploads; gives how long it took to join them.
pub(crate) fn concatenate(endpoint: &Endpoint, size: u64, parts: u64) -> Result<Duration> {
    let mut connection = Connection::open(endpoint)?;
    let mut locations = Vec::new();
    for part in 0..parts {
        let length = size / parts;
        let headers = format!("Upload-Length: {length}\r\nUpload-Concat: partial\r\n");
        let location = connection.create(&headers)?;
        connection.patch(&location, 0, length, part + 1)?;
        locations.push(location);
    }
    let began = Instant::now();
    connection.create(&format!("Upload-Concat: final;{}\r\n", locations.join(" ")))?;
    Ok(began.elapsed())
}

/// What a server says of its own memory at `/metrics`, in bytes.
pub(crate) fn resident_measure(endpoint: &Endpoint) -> Result<u64> {
    let mut stream = TcpStream::connect(endpoint.address)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let line = answer.lines().find_map(|line| line.strip_prefix("exhibit_resident_bytes "));
    Ok(line.context("no exhibit_resident_bytes")?.trim().parse::<f64>()? as u64)
}

struct Connection<'a> {
    endpoint: &'a Endpoint,
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl<'a> Connection<'a> {
    fn open(endpoint: &'a Endpoint) -> Result<Self> {
        let stream = TcpStream::connect(endpoint.address)?;
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self { endpoint, stream, reader })
    }

    fn create(&mut self, headers: &str) -> Result<String> {
        let path = self.endpoint.path.clone();
        self.head("POST", &path, &format!("{headers}Content-Length: 0\r\n"))?;
        let (status, headers) = self.answer()?;
        if status != 201 {
            bail!("creation answered {status}");
        }
        let location = headers.into_iter().find(|(name, _)| name == "location");
        let location = location.context("no Location")?.1;
        // Some servers answer with an absolute address, some with a path.
        let path = location
            .split_once("://")
            .map(|(_, rest)| rest.find('/').map(|i| rest[i..].to_owned()));
        Ok(path.flatten().unwrap_or(location))
    }

    /// Sends one PATCH; how long the answer took after its last byte.
    fn patch(&mut self, path: &str, offset: u64, length: u64, seed: u64) -> Result<Duration> {
        let headers = format!(
            "Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n"
        );
        self.head("PATCH", path, &headers)?;
        let mut sent = 0;
        let mut buffer = pattern(seed);
        while sent < length {
            let take = (length - sent).min(WRITE_BYTES as u64) as usize;
            // Every megabyte is its own: no store may profit from repetition.
            buffer[..8].copy_from_slice(&(seed ^ (offset + sent)).to_le_bytes());
            self.stream.write_all(&buffer[..take])?;
            sent += take as u64;
        }
        let last_byte = Instant::now();
        let (status, _) = self.answer()?;
        if status != 204 && status != 200 {
            bail!("PATCH at {offset} answered {status}");
        }
        Ok(last_byte.elapsed())
    }

    fn head(&mut self, method: &str, path: &str, headers: &str) -> Result<()> {
        let Endpoint { address, token, .. } = self.endpoint;
        let authorization = if token.is_empty() {
            String::new()
        } else {
            format!("Authorization: Bearer {token}\r\n")
        };
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nTus-Resumable: 1.0.0\r\n{authorization}{headers}\r\n"
        );
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Passes over one chunk of a body; false after the last.
    fn pass_chunk(&mut self) -> Result<bool> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim_end(), 16).context("no chunk size")?;
        // The chunk and the line end behind it.
        std::io::copy(&mut (&mut self.reader).take(length + 2), &mut std::io::sink())?;
        Ok(length > 0)
    }

    fn answer(&mut self) -> Result<(u16, Vec<(String, String)>)> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("no status")?.parse()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let value_of = |name: &str| {
            headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        if value_of("transfer-encoding") == Some("chunked") {
            while self.pass_chunk()? {}
        } else {
            let length = value_of("content-length").map_or(Ok(0), str::parse)?;
            std::io::copy(&mut (&mut self.reader).take(length), &mut std::io::sink())?;
        }
        Ok((status, headers))
    }
}

/// A megabyte without structure (xorshift), the same for the same seed.
pub(crate) fn pattern(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(WRITE_BYTES);
    while bytes.len() < WRITE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
