// What the page does for every task: take a picture, ask the service, show the answer. How an answer is shown says
// `view`, from the file of the task:
//   verb, title, columns      words: what the service does, what stands over the table, its columns [name, class]
//   classes(labels)           which of the labels the heading names
//   controls(meta)            fill the card of controls, or leave it empty: then it is not shown
//   query()                   the parameters of the JSON request
//   pictures                  the pictures that can be saved: { name, title, query() }; the first may be shown
//   drawn                     whether the service's drawn picture is shown instead of an overlay of ours
//   shown(answer)             the part of the answer to show
//   rows(result)              the table's rows;  nothing(): the sentence where there are none
//   gist(result)              a few words, shown;  spoken(result): the picture in words, for who cannot see it
//   overlay(pen, result, unit)  draw over the picture in its own pixels; `unit` is one pixel of the screen
const $ = (id) => document.getElementById(id);
const STAGES = ["decode", "preprocess", "network", "postprocess"];
const LONGEST = 64;  // characters of a text that the JSON tab shows; Copy takes all
const GONE = "The service does not answer; is it still running?";
const state = { file: null, answer: null, roundTrip: 0, tab: "json", byService: false, request: null, asked: 0, turn: 0 };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- what is served ---
async function showService() {
  try {
    const meta = await (await fetch(METADATA)).json(), labels = view.classes(meta.labels);
    document.title = `${meta.name} · ${meta.task} service`;
    $("title").textContent = meta.name;
    $("about").textContent = `version ${meta.version} · ${view.verb} ${labels.length < 8 ? labels.join(", ") : labels.length + " classes"} · input ${meta.input_size[1]}×${meta.input_size[0]} · ${meta.device}`;
    const words = [`Licence of the weights and data: ${meta.licence}.`, meta.intended_use, meta.not_for && `Not for: ${meta.not_for}`];
    $("licence").textContent = words.filter(Boolean).join(" ");
    view.controls(meta);
    $("controls").hidden = !$("controls").childElementCount;
    for (const link of $("links").children) link.href = ROOT + link.getAttribute("href");
    $("metadata").href = METADATA;
    await showModels(meta.name);
  } catch { $("about").textContent = "the service does not answer"; }
}
// One service may have several models, each with a page of its own.
async function showModels(name) {
  const names = (await (await fetch(`${ROOT}models`)).json()).filter((each) => each.current).map((each) => each.name);
  if (names.length < 2) return;
  $("models").hidden = false;
  $("models").replaceChildren(...names.map((each) => {
    const link = element("a", { href: `${ROOT}models/${encodeURIComponent(each)}/page`, textContent: each });
    if (each === name) link.setAttribute("aria-current", "page");
    return link;
  }));
}
async function showHealth() {
  const pill = $("health");
  try {
    const answer = await fetch(`${ROOT}health/ready`);
    const body = await answer.json();
    setPill(pill, answer.ok ? "ready" : "not", answer.ok ? "ready" : body.error);
  } catch { setPill(pill, "not", "no connection"); }
}
function setPill(pill, kind, text) {
  if (pill.textContent !== text) pill.textContent = text;  // role=status speaks on every change
  pill.dataset.state = kind;
}

// --- asking ---
async function take(file) {
  if (!file) return;
  stopCamera();
  state.request?.abort();
  const request = state.request = new AbortController();
  Object.assign(state, { file, answer: null, byService: false });
  showError("");
  $("busy").hidden = false;
  $("name").textContent = `${file.name}, ${Math.ceil(file.size / 1024)} kB`;
  const seen = showPicture(file);
  try {
    const started = performance.now();
    const response = await post(view.query(), "application/json", request.signal);
    const answer = await response.json();
    state.roundTrip = performance.now() - started;
    if (!response.ok) throw new Error(answer.error);
    state.answer = answer;
    // Some formats (TIFF, for one) only the service can read: then it draws, also where we could.
    if (!await seen || view.drawn) await showDrawn(request.signal);
  } catch (error) {
    if (request.signal.aborted) return;
    showError(error instanceof TypeError ? GONE : error.message);
    await seen;
  }
  $("busy").hidden = true;
  render();
}
function mediaType() { return state.file.type.startsWith("image/") ? state.file.type : "application/octet-stream"; }
function address(query) { return Object.keys(query).length ? `predict?${new URLSearchParams(query)}` : "predict"; }
function post(query, accept, signal) {
  return fetch(address(query), { method: "POST", body: state.file, headers: { "Content-Type": mediaType(), Accept: accept }, signal });
}
// The picture takes the old one's place when it is decoded, so that nothing flickers; false where the browser cannot.
async function showPicture(blob) {
  const turn = ++state.turn, old = $("picture"), fresh = element("img", { id: "picture", alt: name(), src: URL.createObjectURL(blob) });
  const readable = await fresh.decode().then(() => true, () => false);
  if (turn !== state.turn) return false;  // another has been asked for
  URL.revokeObjectURL(old.src);
  old.replaceWith(fresh);
  $("drop").hidden = readable;
  $("view").hidden = !readable;
  if (readable) $("bar").hidden = false;
  return readable;
}
function name() { return state.file.name || "the pasted picture"; }
async function showDrawn(signal) {
  const asked = ++state.asked;
  const response = await post(view.pictures[0].query(), "image/jpeg", signal);
  if (!response.ok) throw new Error((await response.json()).error);
  const blob = await response.blob(), newest = asked === state.asked;  // else a later choice is on its way
  if (newest) state.byService = await showPicture(blob);
  return newest;
}
async function redraw() {
  if (!state.answer) return;
  const { signal } = state.request;
  $("busy").hidden = false;
  try { if (!await showDrawn(signal)) return; }
  catch (error) { if (!signal.aborted) showError(error instanceof TypeError ? GONE : error.message); }
  if (signal.aborted) return;
  $("busy").hidden = true;
  render();
}
async function save(picture) {
  const response = await post(picture.query(), "image/png");
  if (!response.ok) return showError((await response.json()).error);
  const link = element("a", { href: URL.createObjectURL(await response.blob()) });
  link.download = (state.file.name || "picture").replace(/\.[^.]*$/, "") + `.${picture.name}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// --- the camera ---
async function startCamera() {
  showError("");
  if (!navigator.mediaDevices) return showError("Browsers give the camera only to pages that come over https or from this machine.");
  try { $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }); }
  catch (error) { return showError(`The camera cannot be used: ${error.message}`); }
  showCamera(true);
  $("shoot").focus();
}
function stopCamera() {
  for (const track of $("video").srcObject?.getTracks() ?? []) track.stop();
  $("video").srcObject = null;
  showCamera(false);
}
function showCamera(on) {
  $("stage").classList.toggle("live", on);
  $("camera").hidden = on;
  $("shoot").hidden = $("stop").hidden = !on;
}
async function shoot() {
  const video = $("video"), canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  if (!canvas.width) return;  // the first frame is still on its way
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  take(new File([blob], "camera.jpg", { type: blob.type }));
}

// --- showing ---
function colour(id) { return `rgb(${PALETTE[id % PALETTE.length]})`; }
function showError(text) { $("alert").textContent = text; $("alert").hidden = !text; }
function shown() { return state.answer && view.shown(state.answer); }

function render() {
  const result = shown(), rows = result ? view.rows(result) : [];
  $("answer").hidden = $("timing").hidden = !result;
  $("found").hidden = !rows.length;
  $("empty").hidden = rows.length > 0;
  $("empty").textContent = result ? view.nothing() : "Nothing yet: give a picture.";
  $("count").textContent = result ? view.gist(result) : "";
  $("found").tBodies[0].replaceChildren(...rows);
  drawOverlay(result);
  if (result) { renderTimes(result); renderPanel(result); }
}
function labelCell(tint, text, kind = "") {
  const swatch = element("span", { className: `swatch ${tint ? "" : "hollow"}` });
  if (tint) swatch.style.background = tint;
  return element("td", { className: kind }, element("div", { className: "label" }, swatch, text));
}
function numberCell(text, kind = "") { return element("td", { className: `number ${kind}`, textContent: text }); }

function drawOverlay(result) {
  const canvas = $("overlay"), over = Boolean(view.overlay) && !state.byService;
  canvas.hidden = !over;
  const words = result ? view.spoken(result) : "nothing drawn yet";
  if (!over) { if (result) $("picture").alt = `${name()}: ${words}`; return; }
  const area = canvas.getBoundingClientRect(), dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(area.width * dense);
  canvas.height = Math.round(area.height * dense);
  canvas.setAttribute("aria-label", words);
  if (!result || !area.width) return;
  const pen = canvas.getContext("2d"), [height, width] = result.image_size;
  pen.scale(canvas.width / width, canvas.height / height);
  view.overlay(pen, result, width / area.width);
}

function renderTimes(result) {
  const times = STAGES.map((stage) => [stage, result.timing[stage] ?? 0]);
  const sum = times.reduce((total, [, spent]) => total + spent, 0);
  $("stack").replaceChildren(...times.map(([stage, spent]) => {
    const part = element("span");
    part.style.cssText = `background: var(--${stage}); width: ${sum ? 100 * spent / sum : 0}%`;
    return part;
  }));
  $("times").replaceChildren(...times.flatMap(([stage, spent]) => pair(stage, spent, `var(--${stage})`)), ...pair("service", sum, "", "total"), ...pair("round trip", state.roundTrip));
}
function pair(name, spent, tint, kind = "") {
  const term = element("dt", { className: kind });
  if (tint) { const swatch = element("span", { className: "swatch" }); swatch.style.background = tint; term.append(swatch); }
  term.append(name);
  return [term, element("dd", { className: `number ${kind}`, textContent: spent.toFixed(1) })];
}

// --- the answer as text ---
function texts(result) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const file = state.file.name || "picture.png", exact = view.query(true);
  const send = `curl --data-binary ${quote("@" + file)} \\\n  -H ${quote("Content-Type: " + mediaType())} \\\n  ${KEYED ? `-H "Authorization: Bearer $TOOLKIT_KEY" \\\n  ` : ""}`;
  const full = (query) => new URL(address(query), location.href).href, located = (query) => quote(full(query));
  const drawn = view.pictures.map(({ name, query }) => [name, `${send}-H 'Accept: image/png' -o ${name}.png \\\n  ${located(query())}`]);
  return { json: json(result), curl: `${send}${located(exact)}`, python: python(file, full(exact)), ...Object.fromEntries(drawn) };
}
// Python's own library is enough. JSON's strings are Python's, too.
function python(file, url) {
  const headers = [`"Content-Type": ${JSON.stringify(mediaType())}`, ...(KEYED ? [`"Authorization": "Bearer " + os.environ["TOOLKIT_KEY"]`] : [])];
  return `import json\n${KEYED ? "import os\n" : ""}import urllib.request

with open(${JSON.stringify(file)}, "rb") as picture:
    request = urllib.request.Request(
        ${JSON.stringify(url)},
        picture.read(),
        {${headers.join(", ")}},
    )
with urllib.request.urlopen(request) as answer:
    print(json.load(answer))
`;
}
// One box a line: the innermost lists of numbers are joined again.
function json(result, longest = Infinity) {
  const cut = (_, value) => typeof value === "string" && value.length > longest ? `${value.slice(0, longest)}…` : value;
  return JSON.stringify(result, cut, 2).replace(/\[\n\s+(-?[\d.e+-]+(?:,\s+-?[\d.e+-]+)*)\s+\]/g, (_, list) => `[${list.replace(/\s+/g, " ")}]`);
}
function renderPanel(result) { $("panel").textContent = state.tab === "json" ? json(result, LONGEST) : texts(result)[state.tab]; }
async function copyText(text) {
  try { await navigator.clipboard.writeText(text); return true; }  // only on https and localhost
  catch { $("panel").textContent = text; getSelection().selectAllChildren($("panel")); return document.execCommand("copy"); }
}
async function copy() {
  const done = await copyText(texts(shown())[state.tab]);
  $("copy").textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
}
function makeTabs() {
  const titles = { json: "JSON", curl: "curl", python: "Python", ...Object.fromEntries(view.pictures.map(({ name, title }) => [name, `curl, ${title}`])) };
  const names = Object.keys(titles);
  $("tabs").append(...names.map((name, index) => {
    const tab = element("button", { type: "button", role: "tab", id: `tab-${name}`, textContent: titles[name] });
    tab.setAttribute("aria-controls", "panel");
    tab.addEventListener("click", () => chooseTab(name));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) { const next = names[(index + step + names.length) % names.length]; chooseTab(next); $(`tab-${next}`).focus(); }
    });
    return tab;
  }));
  chooseTab("json");
}
function chooseTab(name) {
  state.tab = name;
  for (const tab of $("tabs").children) { const on = tab.id === `tab-${name}`; tab.setAttribute("aria-selected", on); tab.tabIndex = on ? 0 : -1; }
  $("panel").setAttribute("aria-labelledby", `tab-${name}`);
  if (state.answer) renderPanel(shown());
}

// --- wiring ---
function takeDropped(event) {
  event.preventDefault();
  $("stage").classList.remove("over");
  const files = event.dataTransfer.files;
  if (!files.length) return showError("That was not a file; drop a picture from a folder, or paste it.");
  take(files[0]);
  if (files.length > 1) showError(`${files.length} files were dropped; this page takes one at a time: ${files[0].name}.`);
}
function start() {
  $("found-title").textContent = view.title;
  $("found").tHead.rows[0].append(...view.columns.map(([name, kind]) => element("th", { scope: "col", className: kind, textContent: name })));
  $("saves").append(...view.pictures.map((picture) => {
    const button = element("button", { type: "button", id: `save-${picture.name}`, textContent: `Save the ${picture.title}` });
    button.addEventListener("click", () => save(picture).catch(() => showError(GONE)));
    return button;
  }));
  makeTabs();
  $("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
  $("another").addEventListener("click", () => $("file").click());
  for (const [name, act] of [["copy", copy], ["camera", startCamera], ["shoot", shoot], ["stop", stopCamera]]) $(name).addEventListener("click", act);
  document.addEventListener("paste", (event) => take([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  document.addEventListener("dragover", (event) => { event.preventDefault(); $("stage").classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("stage").classList.remove("over"); });
  document.addEventListener("drop", takeDropped);
  new ResizeObserver(() => drawOverlay(shown())).observe($("view"));
  showService();
  showHealth();
  setInterval(showHealth, 5000);
}
