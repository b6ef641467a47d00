// Detections: boxes over the picture, a table of them, and a slider for the score.
// The service is asked once at the slider's lower end. Suppression is greedy from the best score down, so dropping
// low scores afterwards gives exactly what the service answers at the higher threshold.
const LOWEST = 0.05;
const boxes = { threshold: 0.25, limit: 300, marked: -1 };

const view = {
  verb: "finds",
  title: "Detections",
  columns: [["Label", ""], ["Score", "number"], ["Pixels", "number"]],
  drawn: false,
  pictures: [{ name: "drawn", title: "drawn picture", query: () => ({ score_threshold: boxes.threshold }) }],
  classes: (labels) => labels,
  query: (exact) => ({ score_threshold: exact ? boxes.threshold : LOWEST }),
  controls(meta) {
    boxes.limit = meta.postprocessing.max_detections;
    const slider = element("input", { type: "range", id: "threshold", min: LOWEST, max: 0.95, step: 0.01 });
    const value = element("output", { className: "number", id: "threshold-value" });
    const set = () => { boxes.threshold = Number(slider.value); value.textContent = boxes.threshold.toFixed(2); };
    slider.value = meta.postprocessing.score_threshold;
    set();
    slider.addEventListener("input", () => { set(); render(); });
    const label = element("label", { htmlFor: "threshold" }, element("strong", { textContent: "Score threshold" }));
    $("controls").replaceChildren(element("div", { className: "row" }, label, value), slider);
    render();
  },
  shown(answer) {
    const rows = answer.scores.map((_, index) => index).filter((index) => answer.scores[index] >= boxes.threshold).slice(0, boxes.limit);
    const pick = (list) => rows.map((index) => list[index]);
    const unsure = (name, index) => answer.abstained?.[index] ? `unsure: ${name}` : answer.bins ? `${name} → ${answer.bins[index]}` : name;
    return { ...answer, boxes: pick(answer.boxes), scores: pick(answer.scores), class_ids: pick(answer.class_ids), labels: pick(answer.labels.map(unsure)) };
  },
  gist: (result) => `${result.boxes.length} found`,
  spoken: (result) => `${result.boxes.length} detections: ${result.labels.join(", ") || "none"}`,
  nothing: () => `Nothing with a score of ${boxes.threshold.toFixed(2)} or more.`,
  rows: (result) => result.boxes.map(([left, top, right, bottom], index) => {
    const row = element("tr", { tabIndex: 0 }, labelCell(colour(result.class_ids[index]), result.labels[index]),
      numberCell(result.scores[index].toFixed(3)), numberCell(`${Math.round(right - left)} × ${Math.round(bottom - top)}`));
    for (const [on, to] of [["mouseenter", index], ["focus", index], ["mouseleave", -1], ["blur", -1]])
      row.addEventListener(on, () => { boxes.marked = to; drawOverlay(shown()); });
    return row;
  }),
  overlay(pen, result, unit) {
    for (let index = result.boxes.length - 1; index >= 0; index--) drawBox(pen, result, index, unit);  // the best on top
  },
};

function ink(id) { const [r, g, b] = PALETTE[id % PALETTE.length]; return 0.299 * r + 0.587 * g + 0.114 * b < 120 ? "#fff" : "#000"; }
function drawBox(pen, result, index, unit) {
  const [left, top, right, bottom] = result.boxes[index], marked = index === boxes.marked;
  const tint = colour(result.class_ids[index]);
  pen.globalAlpha = boxes.marked < 0 || marked ? 1 : 0.3;
  if (marked) { pen.fillStyle = "rgb(255 255 255 / .25)"; pen.fillRect(left, top, right - left, bottom - top); }
  pen.lineWidth = 4 * unit; pen.strokeStyle = "rgb(0 0 0 / .35)";
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.lineWidth = 2.4 * unit; pen.strokeStyle = tint;
  pen.strokeRect(left, top, right - left, bottom - top);
  const text = `${result.labels[index]} ${result.scores[index].toFixed(2)}`;
  pen.font = `600 ${13 * unit}px system-ui, "Liberation Sans", sans-serif`;
  const wide = pen.measureText(text).width + 10 * unit, high = 20 * unit;
  const x = Math.max(0, Math.min(left - 1.2 * unit, result.image_size[1] - wide)), y = top >= high ? top - high : top;
  pen.fillStyle = tint; pen.fillRect(x, y, wide, high);
  pen.fillStyle = ink(result.class_ids[index]); pen.textBaseline = "middle"; pen.fillText(text, x + 5 * unit, y + high / 2 + unit);
}
