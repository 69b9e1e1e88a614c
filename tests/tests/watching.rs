//! What people watch, and what stands beside it: playlists and smaller copies for poor lines, a camera's own signature, where a
//! device says that it was. Debian's ffmpeg makes the recording, and plays it over HTTP as a player would.

use std::path::PathBuf;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::programs;
use tests::{Server, Workspace};

const AXIS: &str = "5369676e-6564-2056-6964-656f2e2e2e30";
/// Pictures of the recording: eight seconds of 25.
const PICTURES: usize = 200;

/// Colours that browsers play, and such as they do not.
const PLAIN: &str = "yuv420p";
const FINE: &str = "yuv422p";

/// A recording that no browser plays as it came, signed by its camera, that says where it was.
fn recording(workspace: &Workspace, colours: &str) -> PathBuf {
    let path = workspace.path("recording.mov");
    let signed = format!("h264_metadata=sei_user_data={AXIS}+signed");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=8"])
        .args(["-f", "lavfi", "-i", "sine=f=440:d=8", "-c:v", "libx264", "-pix_fmt", colours])
        .args(["-preset", "ultrafast", "-bsf:v", &signed, "-c:a", "pcm_s16le"])
        .args(["-metadata", "location=+51.5007-000.1246/"])
        .arg(&path)
        .status();
    assert!(made.expect("ffmpeg runs").success());
    path
}

/// Somebody who is signed in, with the cookie of a browser.
struct Browser {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Browser {
    async fn sign_in(server: &Server, workspace: &Workspace) -> Self {
        let typed = ["user", "add", "--name", "Jane", "--number", "1234", "--role", "investigator"];
        let told = workspace.exhibit(&typed).ok().json();
        let link = told["link"].as_str().and_then(|link| link.strip_prefix("/sign-in/"));
        let (http, base) = (reqwest::Client::new(), server.url().to_owned());
        let asked = http.post(format!("{base}/api/v1/session")).json(&json!({"link": link}));
        let session: Value = asked.send().await.expect("an answer").json().await.expect("JSON");
        let token = session["token"].as_str().expect("a token").to_owned();
        Self { base, token, http }
    }

    fn cookie(&self) -> String {
        format!("Cookie: exhibit-session={}\r\n", self.token)
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let asked = self.http.get(format!("{}{path}", self.base));
        let asked = asked.header("cookie", format!("exhibit-session={}", self.token));
        let reply = asked.send().await.expect("the server answers");
        (reply.status(), reply.text().await.expect("text"))
    }

    async fn found(&self, path: &str) -> String {
        let (status, text) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text
    }

    async fn ask_small_copy(&self, item: &str) -> (StatusCode, Value) {
        let path = format!("{}/api/v1/items/{item}/small-copy", self.base);
        let reply = self.http.post(path).bearer_auth(&self.token).send().await.expect("an answer");
        (reply.status(), reply.json().await.expect("JSON"))
    }

    /// Plays what is at `path` to its end: the width of the picture, how many there were, and how long the sound is.
    async fn play(&self, path: &str) -> (u64, usize, f64) {
        let (address, cookie) = (format!("{}{path}", self.base), self.cookie());
        let played = move || {
            let told = Command::new("ffprobe")
                .args(["-v", "warning", "-headers", &cookie, "-count_frames", "-of", "json"])
                .args(["-show_entries", "stream=codec_type,width,nb_read_frames", &address])
                .output()
                .expect("ffprobe runs");
            let decoded = Command::new("ffmpeg")
                .args(["-v", "warning", "-xerror", "-headers", &cookie, "-i", &address])
                .args(["-map", "0:a", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"])
                .output()
                .expect("ffmpeg runs");
            (told, decoded)
        };
        let (told, decoded) = tokio::task::spawn_blocking(played).await.expect("it ends");
        for output in [&told, &decoded] {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "no complaint");
        }
        let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
        let streams = told["streams"].as_array().expect("streams");
        let video = streams.iter().find(|stream| stream["codec_type"] == "video").expect("video");
        let pictures = video["nb_read_frames"].as_str().and_then(|n| n.parse().ok());
        let seconds = decoded.stdout.len() as f64 / 2.0 / 8000.0;
        (video["width"].as_u64().expect("a width"), pictures.expect("pictures"), seconds)
    }
}

fn ingest(workspace: &Workspace, path: &std::path::Path) -> String {
    let answer = workspace.exhibit(&["ingest", &path.display().to_string()]).ok().json();
    answer["item"].as_str().expect("an item").to_owned()
}

fn kinds(shown: &Value) -> Vec<&str> {
    let made = shown["derivatives"].as_array().expect("a list");
    made.iter().filter_map(|one| one["kind"].as_str()).collect()
}

/// As people read it at the console.
fn shown_in_words(workspace: &Workspace, item: &str) -> String {
    let mut show = Command::new(programs::program("exhibit"));
    show.args(["show", item, "--data"]).arg(workspace.data());
    String::from_utf8(show.output().expect("exhibit runs").stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_watched_over_any_line_and_says_what_is_in_it() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let item = ingest(&workspace, &recording(&workspace, FINE));
    let jane = Browser::sign_in(&server, &workspace).await;
    let made = workspace.settled(&item);
    assert!(kinds(&made).contains(&"location") && !kinds(&made).contains(&"proxy-small"));

    // What is in it, in plain words: on the page, over the API, at the console.
    let page = jane.found(&format!("/items/{item}")).await;
    let api = jane.found(&format!("/api/v1/items/{item}")).await;
    let signed = "The camera itself signed this recording (Axis signed video, once in stream 0). That was not checked here";
    assert!(page.contains(signed) && api.contains(signed), "{page}");
    let console = shown_in_words(&workspace, &item);
    assert!(console.contains("by the camera itself: Axis signed video, 1 in stream 0"));
    assert!(console.contains("the device says where it was: container"), "{console}");
    assert!(page.contains("Where, as the device says") && page.contains("51.50070, -0.12460"));
    assert!(!console.contains("51.5"), "no place where nobody asked for it");
    let location = jane.found(&format!("/media/{item}/location")).await;
    let location: Value = serde_json::from_str(&location).expect("JSON");
    assert_eq!(location["features"][0]["geometry"]["coordinates"], json!([-0.1246, 51.5007]));

    // The playlist plays as the file does, to those alone who may see it.
    let media = format!("/media/{item}");
    let (width, pictures, sound) = jane.play(&format!("{media}/proxy")).await;
    assert_eq!((width, pictures), (1280, PICTURES));
    let (playlist, list) = (format!("{media}/proxy.m3u8"), format!("{media}/playlists.m3u8"));
    let text = jane.found(&playlist).await;
    assert!(text.matches("#EXT-X-BYTERANGE").count() >= 4, "{text}");
    for path in [&playlist, &list] {
        let (width, seen, heard) = jane.play(path).await;
        assert_eq!((width, seen), (1280, PICTURES), "{path}");
        assert!((heard - sound).abs() < 0.05, "{path}: {heard} s of {sound} s");
        let stranger = reqwest::get(format!("{}{path}", server.url())).await.expect("an answer");
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let small = format!("{media}/proxy-small.m3u8");
    assert_eq!(jane.get(&small).await.0, StatusCode::NOT_FOUND);

    // A smaller copy, asked for on a poor line; asked for again, it is the same.
    assert!(page.contains("Make a smaller copy for poor lines"));
    assert_eq!(jane.ask_small_copy(&item).await, (StatusCode::OK, json!({"small_copy": "making"})));
    let (status, again) = jane.ask_small_copy(&item).await;
    assert!(status == StatusCode::OK && again["small_copy"] != "possible", "{again}");
    let made = workspace.settled(&item);
    assert_eq!(kinds(&made).iter().filter(|kind| **kind == "proxy-small").count(), 1, "{made}");
    let (width, pictures, heard) = jane.play(&small).await;
    assert_eq!((width, pictures), (640, PICTURES));
    assert!((heard - sound).abs() < 0.05, "{heard} s of {sound} s");
    let text = jane.found(&list).await;
    for line in ["RESOLUTION=1280x720\nproxy.m3u8", "RESOLUTION=640x360\nproxy-small.m3u8"] {
        assert!(text.contains(line), "{text}");
    }
    let page = jane.found(&format!("/items/{item}")).await;
    assert!(page.contains(&format!("/items/{item}?copy=small")), "{page}");
    let page = jane.found(&format!("/items/{item}?copy=small")).await;
    assert!(page.contains(&format!("src=\"{media}/proxy-small.mp4\"")), "{page}");
    let small = ["derive", &item, "--derivative", "proxy-small", "--reason", "for a test"];
    let asked = workspace.exhibit(&small).ok().json();
    assert_eq!(asked["derivatives"][0]["kind"], "proxy-small", "it is there: {asked}");

    // All of that is one viewing.
    let events = workspace.show(&item).ok().json();
    let viewed = events["events"].as_array().expect("a list");
    let asked_for = |event: &&Value| {
        let by = event["by"].as_str().is_some_and(|by| by.starts_with("user:"));
        event["type"] == "item.derived" && by
    };
    assert_eq!(viewed.iter().filter(asked_for).count(), 1, "who asked is said: {events}");
    let viewed = viewed.iter().filter(|event| event["type"] == "item.viewed").count();
    assert_eq!(viewed, 1, "{events}");
    assert_eq!(workspace.exhibit(&["ledger", "audit"]).ok().json()["result"], "match");
}

/// What browsers play behind a front is watched in its own pictures, over HTTP, and nothing was encoded for it but its sound.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_watched_where_it_lies() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let path = recording(&workspace, PLAIN);
    let item = ingest(&workspace, &path);
    let jane = Browser::sign_in(&server, &workspace).await;
    let made = workspace.settled(&item);
    assert!(kinds(&made).contains(&"front") && !kinds(&made).contains(&"proxy"), "{made}");
    let (width, pictures, sound) = jane.play(&format!("/media/{item}/proxy")).await;
    assert_eq!((width, pictures), (1280, PICTURES));
    assert!((sound - 8.0).abs() < 0.05, "{sound} s of 8 s");
    let page = jane.found(&format!("/items/{item}")).await;
    assert!(page.contains("its own pictures, unaltered"), "{page}");
    // There is nothing to list the seconds of.
    assert_eq!(jane.get(&format!("/media/{item}/proxy.m3u8")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(workspace.exhibit(&["ledger", "audit"]).ok().json()["result"], "match");
}

/// The rule of a force with poor lines everywhere; of what browsers play as it came, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_copy_of_everything_is_a_rule() {
    let workspace = Workspace::new();
    let _server = Server::start_with(&workspace, &[("EXHIBIT__TRANSCODE__SMALL_COPY", "always")]);
    let item = ingest(&workspace, &tests::footage::handheld());
    let made = workspace.settled(&item);
    assert!(kinds(&made).contains(&"proxy-small"), "{made}");
    assert!(!kinds(&made).contains(&"proxy"));
}
