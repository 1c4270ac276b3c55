//! Process and machine, as SRS tells of them.
//!
//! Left out: where the process lies and its arguments, which may hold a passphrase, and addresses in its memory, which
//! are of use to nobody but an attacker.

use std::io;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Map, Value, json};
use thalweg_runtime as rt;

use super::now_ms;
use crate::admin::Admin;
use crate::admin::machine::{Machine, ratio};
use crate::admin::process::Process;
use crate::http::Exchange;

pub(super) fn versions(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let data = json!({
        "major": number(env!("CARGO_PKG_VERSION_MAJOR")),
        "minor": number(env!("CARGO_PKG_VERSION_MINOR")),
        "revision": number(env!("CARGO_PKG_VERSION_PATCH")),
        "version": env!("CARGO_PKG_VERSION"),
        "name": "thalweg",
    });
    admin.answer(exchange, json!({ "data": data }))
}

pub(super) fn authors(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let data = json!({
        "license": env!("CARGO_PKG_LICENSE"),
        "contributors": env!("CARGO_PKG_REPOSITORY"),
    });
    admin.answer(exchange, json!({ "data": data }))
}

pub(super) fn features(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let listens = &admin.addresses;
    let features = json!({
        "srt": !listens.srt.is_empty(),
        "rtmp": !listens.rtmp.is_empty(),
        "http": !listens.http.is_empty(),
        "api": true,
        "callback": true,
        "stat": true,
        "ingest": false,
        "transcode": false,
    });
    let options = format!("thalweg {}", env!("CARGO_PKG_VERSION"));
    let data = json!({ "options": options, "options2": "", "features": features });
    admin.answer(exchange, json!({ "data": data }))
}

pub(super) fn summaries(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let process = Process::look()?;
    let system = machine_at_a_glance(admin, &process)?;
    let own = process_at_a_glance(admin, &process);
    let data = json!({ "ok": true, "now_ms": now_ms(), "self": own, "system": system });
    admin.answer(exchange, json!({ "data": data }))
}

fn process_at_a_glance(admin: &Admin, process: &Process) -> Value {
    let uptime = rt::now().saturating_duration_since(admin.started);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "ppid": std::os::unix::process::parent_id(),
        "argv": "thalweg",
        "mem_kbyte": process.resident_bytes / 1024,
        "mem_percent": ratio(process.resident_bytes, process.memory_bytes),
        "cpu_percent": process.cpu.as_secs_f64() / uptime.as_secs_f64().max(0.001),
        "srs_uptime": uptime.as_secs(),
    })
}

fn machine_at_a_glance(admin: &Admin, process: &Process) -> io::Result<Value> {
    let machine = Machine::look()?;
    let mut data = Map::new();
    let mut add = |fields: &[(&str, Value)]| {
        data.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    };
    let shares = admin.looks.shares(&machine);
    add(&[
        ("cpu_percent", json!(shares.machine_cpu)),
        ("disk_read_KBps", json!(shares.disk_read_kib_per_s)),
        ("disk_write_KBps", json!(shares.disk_write_kib_per_s)),
        ("disk_busy_percent", json!(shares.disk_busy)),
    ]);
    let (ram, swap) = (machine.memory_kib("MemTotal"), machine.memory_kib("SwapTotal"));
    let used = |whole: u64, name: &str| {
        json!(ratio(whole.saturating_sub(machine.memory_kib(name)), whole))
    };
    add(&[
        ("mem_ram_kbyte", json!(ram)),
        ("mem_ram_percent", used(ram, "MemAvailable")),
        ("mem_swap_kbyte", json!(swap)),
        ("mem_swap_percent", used(swap, "SwapFree")),
    ]);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let [load_1m, load_5m, load_15m] = process.load;
    add(&[
        ("cpus", json!(cpus)),
        ("cpus_online", json!(cpus)),
        ("uptime", json!(process.uptime_s)),
        // SRS's spelling, which its clients read.
        ("ilde_time", json!(ticks_s(machine.ticks().idle))),
        ("load_1m", json!(load_1m)),
        ("load_5m", json!(load_5m)),
        ("load_15m", json!(load_15m)),
    ]);
    let (outside, inside) = machine.traffic();
    add(&[
        ("net_sample_time", json!(now_ms())),
        ("net_recv_bytes", json!(outside.received)),
        ("net_send_bytes", json!(outside.sent)),
        ("net_recvi_bytes", json!(inside.received)),
        ("net_sendi_bytes", json!(inside.sent)),
        ("srs_sample_time", json!(now_ms())),
        ("srs_recv_bytes", json!(admin.clients.received())),
        ("srs_send_bytes", json!(admin.clients.sent())),
    ]);
    let sockets = machine.sockets();
    add(&[
        ("conn_sys", json!(sockets.tcp)),
        ("conn_sys_et", json!(sockets.established)),
        ("conn_sys_tw", json!(sockets.time_wait)),
        ("conn_sys_udp", json!(sockets.udp)),
        ("conn_srs", json!(admin.clients.count())),
    ]);
    Ok(Value::Object(data))
}

pub(super) fn rusages(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(io::Error::from)?;
    let data = json!({
        "ok": true,
        "sample_time": now_ms(),
        "ru_utime": micros(usage.user_time()),
        "ru_stime": micros(usage.system_time()),
        "ru_maxrss": usage.max_rss(),
        "ru_ixrss": usage.shared_integral(),
        "ru_idrss": usage.unshared_data_integral(),
        "ru_isrss": usage.unshared_stack_integral(),
        "ru_minflt": usage.minor_page_faults(),
        "ru_majflt": usage.major_page_faults(),
        "ru_nswap": usage.full_swaps(),
        "ru_inblock": usage.block_reads(),
        "ru_oublock": usage.block_writes(),
        "ru_msgsnd": usage.ipc_sends(),
        "ru_msgrcv": usage.ipc_receives(),
        "ru_nsignals": usage.signals(),
        "ru_nvcsw": usage.voluntary_context_switches(),
        "ru_nivcsw": usage.involuntary_context_switches(),
    });
    admin.answer(exchange, json!({ "data": data }))
}

/// Columns of `/proc/self/stat` that are numbers, by their place in proc(5).
const OWN_COLUMNS: [(&str, usize); 27] = [
    ("ppid", 4),
    ("pgrp", 5),
    ("session", 6),
    ("tty_nr", 7),
    ("tpgid", 8),
    ("flags", 9),
    ("minflt", 10),
    ("cminflt", 11),
    ("majflt", 12),
    ("cmajflt", 13),
    ("utime", 14),
    ("stime", 15),
    ("cutime", 16),
    ("cstime", 17),
    ("priority", 18),
    ("nice", 19),
    ("num_threads", 20),
    ("itrealvalue", 21),
    ("starttime", 22),
    ("vsize", 23),
    ("rss", 24),
    ("exit_signal", 38),
    ("processor", 39),
    ("rt_priority", 40),
    ("policy", 41),
    ("delayacct_blkio_ticks", 42),
    ("guest_time", 43),
];

pub(super) fn self_proc_stats(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let machine = Machine::look()?;
    let mut data = Map::new();
    data.insert("ok".into(), json!(true));
    data.insert("sample_time".into(), json!(now_ms()));
    data.insert("percent".into(), json!(admin.looks.shares(&machine).process_cpu));
    data.insert("pid".into(), json!(std::process::id()));
    data.insert("comm".into(), json!("thalweg"));
    data.insert("state".into(), json!(machine.own(3)));
    for (name, column) in OWN_COLUMNS {
        data.insert(name.into(), json!(machine.own_number(column)));
    }
    admin.answer(exchange, json!({ "data": Value::Object(data) }))
}

pub(super) fn system_proc_stats(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let machine = Machine::look()?;
    let ticks = machine.ticks();
    let data = json!({
        "ok": true,
        "sample_time": now_ms(),
        "percent": admin.looks.shares(&machine).machine_cpu,
        "user": ticks.user,
        "nice": ticks.nice,
        "sys": ticks.system,
        "idle": ticks.idle,
        "iowait": ticks.iowait,
        "irq": ticks.irq,
        "softirq": ticks.softirq,
        "steal": ticks.steal,
        "guest": ticks.guest,
    });
    admin.answer(exchange, json!({ "data": data }))
}

pub(super) fn meminfos(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let machine = Machine::look()?;
    let kib = |name: &str| machine.memory_kib(name);
    let (total, swap) = (kib("MemTotal"), kib("SwapTotal"));
    let free = kib("MemFree") + kib("Buffers") + kib("Cached");
    let used = total.saturating_sub(free);
    let data = json!({
        "ok": true,
        "sample_time": now_ms(),
        "percent_ram": ratio(used, total),
        "percent_swap": ratio(swap.saturating_sub(kib("SwapFree")), swap),
        "MemActive": total.saturating_sub(kib("MemFree")),
        "RealInUse": used,
        "NotInUse": total.saturating_sub(used),
        "MemTotal": total,
        "MemFree": kib("MemFree"),
        "Buffers": kib("Buffers"),
        "Cached": kib("Cached"),
        "SwapTotal": swap,
        "SwapFree": kib("SwapFree"),
    });
    admin.answer(exchange, json!({ "data": data }))
}

fn micros(time: TimeVal) -> i64 {
    time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec())
}

/// Ticks for programs are of 10 ms on every machine (`USER_HZ` of proc(5)).
const fn ticks_s(ticks: u64) -> u64 {
    Duration::from_millis(ticks.saturating_mul(10)).as_secs()
}
