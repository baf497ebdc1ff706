// Follows the controls: what is drawn, the test beside it, the sounds with their cursors and the keyboard.
"use strict";
(() => {
  const { data, draw, edge, mapValues } = drawing;
  const byId = (id) => document.getElementById(id);
  const ABOUT = {
    relevance: "Gradient-weighted attention for the label, its gradients taken on the way from the data's mean to the clip.",
    integrated: "The input times its gradients on the way from the data's mean to the clip: orange for the label, blue against.",
    gradient: "The input times the gradient of the label's logit: orange speaks for the label, blue against it.",
    occlusion: "How far the label's logit falls when a block is covered (orange) or rises (blue): slow, blunt, honest.",
    published: "Gradient-weighted attention as in Chefer et al. 2021: flat where the model is sure of the clip.",
    rollout: "Attention multiplied through all layers (Abnar and Zuidema 2020). It knows no label.",
    attention: "One layer's attention from the tokens that the model pools. It knows no label.",
    told: "Hidden patches: orange where the model picked its own among all hidden ones, blue where it took another.",
    none: "The spectrogram alone.",
  };

  // Two decimals, and no minus before nothing.
  const fixed = (value) => value.toFixed(2).replace(/^-(0\.00)$/, "$1");

  function labelOf(clip) {
    const asked = byId("label")?.value;
    return asked === undefined || asked === "best" ? clip.best : Number(asked);
  }

  function keyOf(clip) {
    const method = byId("method").value;
    if (method === "attention") return `attention/${byId("layer").value}/${byId("head").value}`;
    return data.byLabel.includes(method) ? `${method}/${labelOf(clip)}` : method;
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
        `${Math.round(100 * data.shares[i])} % removed: ${fixed(drop)} (random ${fixed(chance[i])})`);
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

  function look(key) {
    return { key, picture: byId("picture")?.value, opacity: byId("opacity").value / 100, padding: byId("padding").checked };
  }

  function showClip(view) {
    const key = keyOf(view.clip);
    if (!view.sound.src) view.sound.src = view.clip.sound;
    draw(view, look(key));
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
    views.forEach((other) => { if (other !== view) other.sound?.pause(); });
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

  function setUpGroup(figure) {
    views.push({ section: figure, clip: data.groups[Number(figure.dataset.group)], canvas: figure.querySelector("canvas") });
  }

  function refresh(view) {
    view.stale = false;
    if (view.sound) showClip(view);
    else draw(view, look("relevance"));
  }

  // Only what is on the screen or near it is drawn; the rest when it comes near.
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const view = views.find((each) => each.section === entry.target);
      view.near = entry.isIntersecting;
      if (view.near && view.stale) refresh(view);
    }
    document.documentElement.dataset.drawn ??= Math.round(performance.now());
  }, { rootMargin: "400px" });

  function show(all) {
    const method = byId("method").value;
    byId("for-layer").hidden = byId("for-head").hidden = method !== "attention";
    byId("about").textContent = ABOUT[method];
    for (const view of views) {
      view.stale = true;
      if (view.near || all === true) refresh(view);
    }
  }

  document.querySelectorAll("[data-clip]").forEach(setUp);
  document.querySelectorAll("[data-group]").forEach(setUpGroup);
  byId("controls").addEventListener("input", show);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  let waiting = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(show); });
  window.addEventListener("beforeprint", () => show(true));
  show();
  views.forEach((view) => watch.observe(view.section));
})();
