//! The Debian package in a root of its own: installed, upgraded and removed by dpkg, without a trace in ours.
//!
//! The root is this machine's, seen through an overlay in a mount namespace that ends with the test; what dpkg and the
//! package write goes to memory. Making one needs root.

use std::process::Command;

use test_machine::root;
use tests::programs::{program, repository};

/// What happens in the root. Each line is a check: the first that fails ends it.
const STORY: &str = r#"
set -eux
exhibit=/usr/bin/exhibit
! test -e $exhibit
dpkg -i /packages/exhibit_0.9.1_*.deb
$exhibit --version
exhibit-verify --version
test -x /usr/bin/exhibit-transcode
man -l /usr/share/man/man1/exhibit-backup.1.gz | grep -q -- --reread
bash -c 'source /usr/share/bash-completion/completions/exhibit && complete -p exhibit'
systemd-analyze verify /lib/systemd/system/exhibit.service /lib/systemd/system/exhibit-backup.timer
test "$(stat -c '%U %a' /var/lib/exhibit)" = 'exhibit 700'

# As the service's user, in its folder: it works as installed.
as() { runuser -u exhibit -- env EXHIBIT_DATA=/var/lib/exhibit "$@"; }
head -c 100000 /dev/urandom > /tmp/clip.bin
chmod 644 /tmp/clip.bin
as $exhibit ingest /tmp/clip.bin
size=$(as $exhibit ledger audit --json | grep -o '"size": [0-9]*')

# An upgrade keeps data and settings, and checks out before and after.
as $exhibit upgrade check
echo '[limits]' > /var/lib/exhibit/exhibit.toml
chown exhibit: /var/lib/exhibit/exhibit.toml
chmod 640 /var/lib/exhibit/exhibit.toml
dpkg -i /packages/exhibit_0.9.2_*.deb
dpkg-query -W -f='${Version}' exhibit | grep -x 0.9.2
test "$(as $exhibit ledger audit --json | grep -o '"size": [0-9]*')" = "$size"
test "$(cat /var/lib/exhibit/exhibit.toml)" = '[limits]'

# Removed, nothing of the package stays; the evidence does, also after a purge.
dpkg -L exhibit > /tmp/files
dpkg -r exhibit
dpkg --purge exhibit
while read -r file; do test -d "$file" || ! test -e "$file"; done < /tmp/files
test -f /var/lib/exhibit/records.sqlite
test -d /var/lib/exhibit/keys

# And again.
dpkg -i /packages/exhibit_0.9.2_*.deb
as $exhibit search | grep clip.bin
"#;

#[test]
fn it_installs_upgrades_and_removes_cleanly() {
    root::needed_to("make a root of its own");
    let place = tempfile::tempdir().expect("a folder");
    for version in ["0.9.1", "0.9.2"] {
        let made = Command::new(repository().join("scripts/deb"))
            .arg(program("exhibit").parent().expect("a folder"))
            .arg(place.path())
            .arg(version)
            .output()
            .expect("scripts/deb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let root = place.path().join("root");
    std::fs::create_dir(&root).expect("made");
    let told = Command::new("unshare")
        .args(["--mount", "bash", "-euc"])
        .arg(format!("{MAKE_ROOT}\nexec chroot \"$1/new\" bash -c \"$3\" 2>&1"))
        .arg("make-root")
        .arg(&root)
        .arg(place.path())
        .arg(STORY)
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{said}\n{}", String::from_utf8_lossy(&told.stderr));
}

/// `$1`: where the root is made, `$2`: the folder with the packages.
const MAKE_ROOT: &str = r#"
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/new"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/new"
mkdir -p "$1/new/packages"
cp "$2"/*.deb "$1/new/packages/"
mount -t proc none "$1/new/proc"
mount -t tmpfs none "$1/new/tmp"
mount --rbind /dev "$1/new/dev"
mount -t tmpfs none "$1/new/run"
"#;
