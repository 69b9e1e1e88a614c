//! The folder of one upload under way: `uploads/<upload>/`, with everything that goes when it ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chain_of_custody::ids::UploadId;

use super::disk::{Disk, sync_folder, write_new};
use super::together::beside_each_other;
use crate::objects::error::StoreError;
use crate::objects::kek::{Kek, ObjectKey};
use crate::objects::tink::Header;
use crate::objects::upload::{OpenPart, Slot};

/// Names in the folder of an upload.
#[derive(Debug, Clone)]
pub(crate) struct UploadFolder {
    path: PathBuf,
}

impl UploadFolder {
    pub(crate) fn new(uploads: &Path, upload: UploadId) -> Self {
        Self { path: uploads.join(upload.to_string()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn part(&self, number: u32) -> PathBuf {
        self.path.join(format!("part-{number:04}"))
    }

    pub(crate) fn key(&self, number: u32) -> PathBuf {
        self.path.join(format!("part-{number:04}.key"))
    }

    /// The last segment of a part while that part is being closed.
    pub(crate) fn closing(&self, number: u32) -> PathBuf {
        self.path.join(format!("part-{number:04}.closing"))
    }

    pub(crate) fn tail(&self, slot: Slot) -> PathBuf {
        self.path.join(slot.file())
    }

    pub(crate) fn groups(&self) -> PathBuf {
        self.path.join("groups")
    }

    /// The outboard, once the upload is sealed, until the object takes it over.
    pub(crate) fn outboard(&self) -> PathBuf {
        self.path.join("outboard")
    }

    /// Makes room for it: an attempt at sealing that was cut may have left one.
    pub(crate) fn forget_outboard(&self) -> Result<(), StoreError> {
        let path = self.outboard();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io(&path, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the folder with its side files. An upload is begun once.
    pub(crate) fn create(&self) -> Result<(), StoreError> {
        let fail = |e| StoreError::io(&self.path, e);
        fs::create_dir(&self.path).map_err(fail)?;
        for file in [self.tail(Slot::TailA), self.tail(Slot::TailB), self.groups()] {
            create(&file).map_err(fail)?;
        }
        Ok(())
    }

    /// Begins the first part whose number is free, under a new key.
    pub(crate) fn new_part(
        &self,
        disk: &dyn Disk,
        kek: &Kek,
    ) -> Result<(OpenPart, ObjectKey), StoreError> {
        let taken = |number: &u32| self.key(*number).exists();
        let number = (0..).find(|n| !taken(n)).expect("fewer parts than numbers");
        let key = ObjectKey::random();
        let key_path = self.key(number);
        write_new(disk, &key_path, kek.wrap(&key).as_bytes())
            .map_err(|e| StoreError::io(&key_path, e))?;
        create(&self.part(number)).map_err(|e| StoreError::io(&self.part(number), e))?;
        let (header, none) = (Header::random(), Default::default());
        let part = OpenPart { number, header, segments: 0, crc_before_last: none, crc: none };
        Ok((part, key))
    }

    /// Makes all names in the folder, and its own, durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let above = self.path.parent().expect("it lies in the uploads folder");
        beside_each_other(&[self.path.as_path(), above], |folder| {
            let fail = |source| StoreError::Device { path: (*folder).to_owned(), source };
            sync_folder(folder).map_err(fail)
        })
    }

    /// Removes everything; nothing there is fine too. The key goes first.
    pub(crate) fn remove(&self) -> Result<(), StoreError> {
        for number in (0..).take_while(|n| self.key(*n).exists()) {
            fs::remove_file(self.key(number)).map_err(|e| StoreError::io(&self.path, e))?;
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io(&self.path, error))
            }
            _ => Ok(()),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The key in a key file.
pub(crate) fn load_key(kek: &Kek, path: &Path) -> Result<ObjectKey, StoreError> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::KeyGone { path: path.to_owned() },
        io::ErrorKind::InvalidData => wrong_key(kek, path),
        _ => StoreError::io(path, error),
    })?;
    kek.unwrap(&text).ok_or_else(|| wrong_key(kek, path))
}

fn wrong_key(kek: &Kek, path: &Path) -> StoreError {
    StoreError::WrongKey { path: path.to_owned(), kek: kek.id().to_owned() }
}
