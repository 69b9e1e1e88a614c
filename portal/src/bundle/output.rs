//! Writing it out: beside its place under a name that is no bundle's, made durable, then renamed. At the output path
//! there is a whole bundle or nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::request::BundleError;

/// Pieces of footage on their way to the disk.
const PIECES_IN_FLIGHT: usize = 4;
const BUFFER_BYTES: usize = 1024 * 1024;

/// Where the bundle goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Folder(PathBuf),
    Zip(PathBuf),
}

impl Output {
    /// A ZIP when the name ends in `.zip`, else a folder.
    pub fn from_path(path: &Path) -> Self {
        let zip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
        if zip { Self::Zip(path.to_owned()) } else { Self::Folder(path.to_owned()) }
    }

    /// The path that the bundle will have.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Zip(path) => path,
        }
    }

    /// Whether a bundle can be put there: checked before anything is recorded, and again by the rename.
    pub(super) fn check(&self) -> Result<(), BundleError> {
        match fs::symlink_metadata(self.path()) {
            Ok(_) => Err(BundleError::OutputExists(self.path().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the writing thread is told.
enum Step {
    Begin { path: String, size_bytes: u64 },
    Piece(Bytes),
    Finish,
}

/// A bundle being written. Dropped before [`Writing::finish`], it leaves nothing.
pub(super) struct Writing {
    steps: mpsc::Sender<Step>,
    thread: JoinHandle<Result<(), BundleError>>,
}

impl Writing {
    /// Makes the temporary sibling. `top` is the folder inside a ZIP.
    pub(super) fn begin(output: &Output, top: &str, nonce: &str) -> Result<Self, BundleError> {
        let sink = Sink::new(output, top, nonce)?;
        let (steps, received) = mpsc::channel(PIECES_IN_FLIGHT);
        let thread = tokio::task::spawn_blocking(move || write(sink, received));
        Ok(Self { steps, thread })
    }

    /// A whole file.
    pub(super) async fn file(&self, path: &str, bytes: Vec<u8>) -> Result<(), Stopped> {
        self.begin_file(path, bytes.len() as u64).await?;
        self.piece(Bytes::from(bytes)).await
    }

    /// A file whose pieces follow.
    pub(super) async fn begin_file(&self, path: &str, size_bytes: u64) -> Result<(), Stopped> {
        self.send(Step::Begin { path: path.to_owned(), size_bytes }).await
    }

    pub(super) async fn piece(&self, bytes: Bytes) -> Result<(), Stopped> {
        self.send(Step::Piece(bytes)).await
    }

    async fn send(&self, step: Step) -> Result<(), Stopped> {
        self.steps.send(step).await.map_err(|_| Stopped)
    }

    /// Makes everything durable and gives it its name.
    pub(super) async fn finish(self) -> Result<(), BundleError> {
        // When the thread has stopped, its own error is the one that counts.
        let _ = self.send(Step::Finish).await;
        self.why_stopped().await
    }

    /// What the writing thread says after it has stopped.
    pub(super) async fn why_stopped(self) -> Result<(), BundleError> {
        drop(self.steps);
        let ended = self.thread.await;
        ended.unwrap_or_else(|_| Err(BundleError::Record("the writing thread stopped".to_owned())))
    }
}

/// The writing thread has stopped; [`Writing::why_stopped`] says why.
#[derive(Debug)]
pub(super) struct Stopped;

fn write(mut sink: Sink, mut steps: mpsc::Receiver<Step>) -> Result<(), BundleError> {
    let mut left = 0;
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Begin { path, size_bytes } if left == 0 => {
                left = size_bytes;
                sink.begin(&path, size_bytes)?;
            }
            Step::Piece(bytes) if bytes.len() as u64 <= left => {
                left -= bytes.len() as u64;
                sink.file_mut()?.write_all(&bytes)?;
            }
            Step::Finish if left == 0 => return sink.finish(),
            _ => {
                return Err(BundleError::Record(
                    "a file has another size than was recorded".to_owned(),
                ));
            }
        }
    }
    // Whoever made the bundle gave up: the sink removes what it has written.
    Err(BundleError::Record("the bundle was not finished".to_owned()))
}

/// The temporary sibling. Removed when dropped before it has its name.
struct Sink {
    kind: Kind,
    temporary: PathBuf,
    target: PathBuf,
    finished: bool,
}

enum Kind {
    Folder { open: Option<BufWriter<File>> },
    Zip { zip: Box<ZipWriter<BufWriter<File>>>, top: String },
    Closed,
}

impl Sink {
    fn new(output: &Output, top: &str, nonce: &str) -> Result<Self, BundleError> {
        output.check()?;
        let target = output.path().to_owned();
        let temporary = sibling(&target, nonce)?;
        let kind = match output {
            Output::Folder(_) => {
                fs::create_dir(&temporary)?;
                Kind::Folder { open: None }
            }
            Output::Zip(_) => {
                let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
                let zip = ZipWriter::new(BufWriter::with_capacity(BUFFER_BYTES, file));
                Kind::Zip { zip: Box::new(zip), top: top.to_owned() }
            }
        };
        Ok(Self { kind, temporary, target, finished: false })
    }

    fn begin(&mut self, path: &str, size_bytes: u64) -> Result<(), BundleError> {
        match &mut self.kind {
            Kind::Folder { open } => {
                close(open)?;
                let path = self.temporary.join(path);
                fs::create_dir_all(path.parent().unwrap_or(&self.temporary))?;
                let file = OpenOptions::new().write(true).create_new(true).open(path)?;
                *open = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
            }
            Kind::Zip { zip, top } => {
                let options = SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Stored)
                    .unix_permissions(0o644)
                    .large_file(size_bytes >= u64::from(u32::MAX));
                zip.start_file(format!("{top}/{path}"), options).map_err(io::Error::from)?;
            }
            Kind::Closed => return Err(io::Error::other("the output is closed").into()),
        }
        Ok(())
    }

    fn file_mut(&mut self) -> Result<&mut dyn Write, BundleError> {
        match &mut self.kind {
            Kind::Folder { open: Some(file) } => Ok(file),
            Kind::Zip { zip, .. } => Ok(zip),
            _ => Err(io::Error::other("no file was begun").into()),
        }
    }

    fn finish(mut self) -> Result<(), BundleError> {
        match std::mem::replace(&mut self.kind, Kind::Closed) {
            Kind::Folder { mut open } => {
                close(&mut open)?;
                sync_folders(&self.temporary)?;
            }
            Kind::Zip { zip, .. } => {
                let file = zip.finish().map_err(io::Error::from)?;
                file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            }
            Kind::Closed => {}
        }
        rename_new(&self.temporary, &self.target)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.kind = Kind::Closed;
        // Best effort: what stays has a name that is no bundle's.
        let _ = fs::remove_file(&self.temporary).or_else(|_| fs::remove_dir_all(&self.temporary));
    }
}

/// `.name.partial-<nonce>` in the same folder.
fn sibling(target: &Path, nonce: &str) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::other("the output path has no name"))?;
    Ok(target.with_file_name(format!(".{}.partial-{nonce}", name.to_string_lossy())))
}

fn close(open: &mut Option<BufWriter<File>>) -> io::Result<()> {
    let Some(file) = open.take() else { return Ok(()) };
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Never over something that is there.
fn rename_new(from: &Path, to: &Path) -> Result<(), BundleError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Err(BundleError::OutputExists(to.to_owned())),
        // Some network file systems know no such rename; the look before it has to do.
        Err(rustix::io::Errno::INVAL) => fs::rename(from, to)?,
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?)
}
