// Reads the page's own data; draws the pictures with their maps, plays the sounds, and moves the cursors.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const LEVEL_OF = new Float32Array(128);
  for (let i = 0; i < 64; i++) LEVEL_OF[LEVELS.charCodeAt(i)] = i / 63;
  const MARGIN = { left: 46, right: 8, top: 4, bottom: 36 };
  const TICKS_HZ = [100, 250, 500, 1000, 2000, 4000, 8000, 16000];
  const ABOUT = {
    relevance: "Gradient-weighted attention for the label (Chefer et al. 2021), from the tokens that the model pools.",
    gradient: "The input times the gradient of the label's logit: orange speaks for the label, blue against it.",
    occlusion: "How far the label's logit falls when a block is covered (orange) or rises (blue): slow, blunt, honest.",
    rollout: "Attention multiplied through all layers (Abnar and Zuidema 2020). It knows no label.",
    attention: "One layer's attention from the tokens that the model pools. It knows no label.",
    told: "Hidden patches: orange where the model picked its own among all hidden ones, blue where it took another.",
    none: "The spectrogram alone.",
  };

  function decode(text) {
    const values = new Float32Array(text.length);
    for (let i = 0; i < text.length; i++) values[i] = LEVEL_OF[text.charCodeAt(i)];
    return values;
  }

  // A picture's pixels, made once: white is quiet, black is loud.
  function spectrogram(text, frames, bins) {
    const values = decode(text);
    const canvas = document.createElement("canvas");
    canvas.width = frames;
    canvas.height = bins;
    const pixels = new ImageData(frames, bins);
    for (let bin = 0; bin < bins; bin++) {
      for (let frame = 0; frame < frames; frame++) {
        const at = 4 * ((bins - 1 - bin) * frames + frame);
        const shade = 255 - 235 * values[bin * frames + frame];
        pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = shade;
        pixels.data[at + 3] = 255;
      }
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  }

  function isSigned(key) { return data.signed.includes(key.split("/")[0]); }

  // Values of a map, -1..1 where signed and 0..1 elsewhere.
  function mapValues(map, key) {
    if (!map.values) {
      const values = decode(map.v);
      map.values = isSigned(key) ? values.map((value) => (Math.abs(2 * value - 1) < 0.017 ? 0 : 2 * value - 1)) : values;
    }
    return map.values;
  }

  function overlay(map, key) {
    const values = mapValues(map, key);
    const canvas = document.createElement("canvas");
    canvas.width = map.cols;
    canvas.height = map.rows;
    const pixels = new ImageData(map.cols, map.rows);
    for (let row = 0; row < map.rows; row++) {
      for (let col = 0; col < map.cols; col++) {
        const value = values[row * map.cols + col];
        const at = 4 * ((map.rows - 1 - row) * map.cols + col);
        const strength = Math.abs(value);
        const colour = value < 0 ? [10, 80, 200] : [255, 120 - 70 * strength, 0];
        pixels.data.set([...colour, 255 * Math.min(1, strength * 1.1)], at);
      }
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  }

  const edge = (frame) => data.first + frame * data.shift;
  const mel = (hz) => Math.log1p(hz / 700);

  function height01(hz) {
    const low = mel(data.hz[0]), high = mel(data.hz[data.hz.length - 1]);
    return (mel(hz) - low) / (high - low);
  }

  // Frames that are shown: the clip's own and a little of the padding, or the whole window.
  function shownFrames(clip) {
    const all = clip.size[0];
    return byId("padding").checked ? all : Math.min(all, Math.max(8, Math.ceil(clip.frames * 1.08)));
  }

  function draw(view, key) {
    const { canvas, clip } = view;
    const ratio = window.devicePixelRatio || 1;
    const wide = canvas.clientWidth, tall = canvas.clientHeight;
    if (!wide || !tall) return;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(tall * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.imageSmoothingEnabled = false;
    const frames = shownFrames(clip), bins = clip.size[1];
    const box = { x: MARGIN.left, y: MARGIN.top, w: wide - MARGIN.left - MARGIN.right, h: tall - MARGIN.top - MARGIN.bottom };
    view.box = box;
    view.frames = frames;
    const name = clip.pictures[byId("picture")?.value] ? byId("picture").value : Object.keys(clip.pictures)[0];
    view.shades ??= {};
    view.shades[name] ??= spectrogram(clip.pictures[name], clip.size[0], bins);
    pen.save();
    pen.beginPath();
    pen.rect(box.x, box.y, box.w, box.h);
    pen.clip();
    pen.drawImage(view.shades[name], 0, 0, frames, bins, box.x, box.y, box.w, box.h);
    const end = box.x + (box.w * Math.min(clip.frames, frames)) / frames;
    pen.fillStyle = "#f4f6f9";
    pen.fillRect(end, box.y, box.x + box.w - end, box.h);
    const map = clip.maps[key];
    if (map) {
      pen.globalAlpha = byId("opacity").value / 100;
      const across = (box.w * map.cols * map.w) / frames, up = (box.h * map.rows * map.h) / bins;
      pen.drawImage(overlay(map, key), box.x, box.y + box.h - up, across, up);
      pen.globalAlpha = 1;
    }
    if (clip.frames < frames) hatch(pen, box, end);
    pen.restore();
    axes(pen, box, frames);
  }

  function hatch(pen, box, from) {
    pen.strokeStyle = "#68707c";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.rect(from, box.y, box.x + box.w - from, box.h);
    pen.clip();
    for (let x = from - box.h; x < box.x + box.w; x += 8) {
      pen.moveTo(x, box.y + box.h);
      pen.lineTo(x + box.h, box.y);
    }
    pen.stroke();
  }

  function axes(pen, box, frames) {
    pen.strokeStyle = "#4b5563";
    pen.fillStyle = "#1c2430";
    pen.font = "12px system-ui, sans-serif";
    pen.strokeRect(box.x + 0.5, box.y + 0.5, box.w - 1, box.h - 1);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    let last = Infinity;
    for (const hz of TICKS_HZ) {
      const y = box.y + box.h * (1 - height01(hz));
      if (hz <= data.hz[0] || y < box.y + 6 || last - y < 16) continue;
      pen.fillText(hz < 1000 ? `${hz}` : `${hz / 1000}k`, box.x - 6, y);
      pen.fillRect(box.x - 4, y, 4, 1);
      last = y;
    }
    pen.save();
    pen.translate(9, box.y + box.h / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText("Hz", 0, 0);
    pen.restore();
    const length = frames * data.shift;
    const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60].find((each) => (box.w * each) / length > 46) || 120;
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (let tick = Math.ceil(edge(0) / step) * step; tick <= edge(frames); tick += step) {
      const x = box.x + (box.w * (tick - edge(0))) / length;
      pen.fillRect(x, box.y + box.h, 1, 4);
      if (x < box.x + box.w - 12) pen.fillText(`${+tick.toFixed(2)}`, x, box.y + box.h + 6);
    }
    pen.fillText("seconds", box.x + box.w / 2, box.y + box.h + 21);
  }

  function labelOf(clip) {
    const asked = byId("label")?.value;
    return asked === undefined || asked === "best" ? clip.best : Number(asked);
  }

  function keyOf(clip) {
    const method = byId("method").value;
    if (method === "attention") return `attention/${byId("layer").value}/${byId("head").value}`;
    return ["relevance", "gradient", "occlusion"].includes(method) ? `${method}/${labelOf(clip)}` : method;
  }

  // The test beside the map, in words.
  function test(clip, key) {
    const parts = [];
    const label = labelOf(clip);
    const name = label === null || label === undefined ? "" : data.labels[label];
    const drops = clip.drops[key]?.[label], chance = clip.random[label];
    if (name) parts.push(`Label: ${name}.`);
    if (drops && chance) {
      const shown = drops.map((drop, i) =>
        `${Math.round(100 * data.shares[i])} % removed: ${drop.toFixed(2)} (random ${chance[i].toFixed(2)})`);
      parts.push(`Drop of its logit, most marked ${shown.join("; ")}.`);
      const wins = drops.filter((drop, i) => drop > chance[i]).length;
      parts.push(wins === drops.length ? "It beats chance at every share." : wins === 0
        ? "It does not beat chance: do not read this map." : "It beats chance only in part: read it with care.");
    } else if (clip.maps[key] && name) {
      parts.push("Not tested for a single head; choose the mean of all.");
    } else if (!clip.maps[key] && byId("method").value !== "none") {
      parts.push("There is no such map for this clip.");
    }
    const outside = clip.inPadding[key];
    if (outside > 0.005) parts.push(`${(100 * outside).toFixed(0)} % of this map lies in the padding.`);
    return parts.join(" ");
  }

  // Up to three stretches of time where the map is strongest, [from, to, share of what is above 0].
  function topSegments(clip, key) {
    const map = clip.maps[key];
    if (!map || key === "told") return [];
    const values = mapValues(map, key);
    const frames = new Float32Array(clip.frames);
    for (let t = 0; t < clip.frames; t++) {
      const col = Math.floor(t / map.w);
      for (let row = 0; row < map.rows && col < map.cols; row++) {
        frames[t] += Math.max(0, values[row * map.cols + col]) / map.rows;
      }
    }
    const total = frames.reduce((sum, value) => sum + value, 0);
    const length = Math.max(4, Math.min(25, Math.round(clip.frames / 6)));
    const sums = [0];
    frames.forEach((value, t) => sums.push(sums[t] + value));
    const found = [];
    while (total > 0 && found.length < 3) {
      let best = null;
      for (let t = 0; t + length <= clip.frames; t++) {
        if (found.some(([from]) => Math.abs(from - t) < length)) continue;
        const share = (sums[t + length] - sums[t]) / total;
        if (!best || share > best[2]) best = [t, t + length, share];
      }
      if (!best || best[2] <= 0) break;
      found.push(best);
    }
    return found;
  }

  function showClip(view) {
    const key = keyOf(view.clip);
    draw(view, key);
    view.section.querySelector(".test").textContent = test(view.clip, key);
    const place = view.section.querySelector(".segments");
    const buttons = topSegments(view.clip, key).map(([from, to, share]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${edge(from).toFixed(2)}–${edge(to).toFixed(2)} s (${Math.round(100 * share)} %)`;
      button.setAttribute("aria-label", `Play ${button.textContent} of ${view.clip.uid}`);
      button.addEventListener("click", () => { view.until = edge(to); start(view, edge(from)); });
      return button;
    });
    place.replaceChildren(...(buttons.length ? ["Strongest: ", ...buttons] : []));
    moveCursor(view);
  }

  function moveCursor(view) {
    const { sound, box, canvas, section } = view;
    if (!box) return;
    const share = Math.min(1, Math.max(0, (sound.currentTime - edge(0)) / (view.frames * data.shift)));
    section.querySelector(".plot i").style.left = `${box.x + share * box.w - 1}px`;
    const length = Number.isFinite(sound.duration) ? sound.duration : view.clip.frames * data.shift;
    section.querySelector("output").textContent = `${sound.currentTime.toFixed(2)} of ${length.toFixed(2)} s`;
    canvas.setAttribute("aria-valuemin", "0");
    canvas.setAttribute("aria-valuemax", length.toFixed(2));
    canvas.setAttribute("aria-valuenow", sound.currentTime.toFixed(2));
    canvas.setAttribute("aria-valuetext", `${sound.currentTime.toFixed(2)} seconds`);
  }

  const views = [];

  function start(view, from) {
    views.forEach((other) => { if (other !== view) other.sound.pause(); });
    if (from !== undefined) seek(view, from);
    view.sound.play().catch(() => {});
  }

  function seek(view, seconds) {
    const end = Number.isFinite(view.sound.duration) ? view.sound.duration : Infinity;
    view.sound.currentTime = Math.min(end, Math.max(0, seconds));
    moveCursor(view);
  }

  function toggle(view) {
    view.until = null;
    if (view.sound.paused) start(view);
    else view.sound.pause();
  }

  function follow(view) {
    moveCursor(view);
    if (view.until && view.sound.currentTime >= view.until) {
      view.sound.pause();
      view.until = null;
    }
    if (!view.sound.paused) requestAnimationFrame(() => follow(view));
  }

  function setUp(section) {
    const clip = data.clips[Number(section.dataset.clip)];
    const view = { section, clip, canvas: section.querySelector("canvas"), sound: section.querySelector("audio") };
    const button = section.querySelector(".play");
    view.sound.src = clip.sound;
    view.sound.addEventListener("play", () => { button.textContent = "Stop"; follow(view); });
    view.sound.addEventListener("pause", () => { button.textContent = "Play"; });
    view.sound.addEventListener("loadedmetadata", () => moveCursor(view));
    view.sound.addEventListener("seeked", () => moveCursor(view));
    button.addEventListener("click", () => toggle(view));
    view.canvas.addEventListener("click", (event) => {
      const x = event.clientX - view.canvas.getBoundingClientRect().left - view.box.x;
      view.until = null;
      start(view, edge(0) + (Math.max(0, x) / view.box.w) * view.frames * data.shift);
    });
    view.canvas.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.5 : 0.05;
      const moves = { ArrowLeft: -step, ArrowRight: step, Home: -Infinity, End: Infinity };
      if (event.key === " ") toggle(view);
      else if (event.key in moves) seek(view, view.sound.currentTime + moves[event.key]);
      else return;
      event.preventDefault();
    });
    views.push(view);
  }

  const groups = [...document.querySelectorAll("[data-group]")].map((figure) =>
    ({ clip: data.groups[Number(figure.dataset.group)], canvas: figure.querySelector("canvas") }));

  function show() {
    const method = byId("method").value;
    byId("for-layer").hidden = byId("for-head").hidden = method !== "attention";
    byId("about").textContent = ABOUT[method];
    views.forEach(showClip);
    groups.forEach((view) => draw(view, "relevance"));
  }

  document.querySelectorAll("[data-clip]").forEach(setUp);
  byId("controls").addEventListener("input", show);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  let waiting = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(show); });
  show();
  document.documentElement.dataset.drawn = Math.round(performance.now());
})();
