// Draws a spectrogram with a map over it, axes in Hz and seconds, and hatched padding, on a canvas.
"use strict";
const drawing = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const LEVEL_OF = new Float32Array(128);
  for (let i = 0; i < 64; i++) LEVEL_OF[LEVELS.charCodeAt(i)] = i / 63;
  const MARGIN = { left: 46, right: 8, top: 4, bottom: 36 };
  const TICKS_HZ = [100, 250, 500, 1000, 2000, 4000, 8000, 16000];

  function decode(text) {
    const values = new Float32Array(text.length);
    for (let i = 0; i < text.length; i++) values[i] = LEVEL_OF[text.charCodeAt(i)];
    return values;
  }

  // A picture's pixels, made once: white is quiet, black is loud.
  function spectrogram(text, [cols, rows]) {
    const values = decode(text);
    const canvas = document.createElement("canvas");
    canvas.width = cols;
    canvas.height = rows;
    const pixels = new ImageData(cols, rows);
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++) {
        const at = 4 * ((rows - 1 - row) * cols + col);
        const shade = 255 - 235 * values[row * cols + col];
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
  function shownFrames(clip, padding) {
    const all = clip.size[0];
    return padding ? all : Math.min(all, Math.max(8, Math.ceil(clip.frames * 1.08)));
  }

  // `look` says what is shown: key of the map, name of the picture, opacity 0..1, all of the padding or not.
  function draw(view, look) {
    const { canvas, clip } = view;
    const ratio = window.devicePixelRatio || 1;
    const wide = canvas.clientWidth, tall = canvas.clientHeight;
    if (!wide || !tall) return;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(tall * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.imageSmoothingEnabled = false;
    const frames = shownFrames(clip, look.padding), [cols, rows] = clip.grid;
    const box = { x: MARGIN.left, y: MARGIN.top, w: wide - MARGIN.left - MARGIN.right, h: tall - MARGIN.top - MARGIN.bottom };
    view.box = box;
    view.frames = frames;
    const name = look.picture in clip.pictures ? look.picture : Object.keys(clip.pictures)[0];
    view.shades ??= {};
    view.shades[name] ??= spectrogram(clip.pictures[name], clip.grid);
    pen.save();
    pen.beginPath();
    pen.rect(box.x, box.y, box.w, box.h);
    pen.clip();
    pen.drawImage(view.shades[name], 0, 0, (cols * frames) / clip.size[0], rows, box.x, box.y, box.w, box.h);
    const end = box.x + (box.w * Math.min(clip.frames, frames)) / frames;
    pen.fillStyle = "#f4f6f9";
    pen.fillRect(end, box.y, box.x + box.w - end, box.h);
    const map = clip.maps[look.key];
    if (map) {
      pen.globalAlpha = look.opacity;
      const across = (box.w * map.cols * map.w) / frames, up = (box.h * map.rows * map.h) / clip.size[1];
      pen.drawImage(overlay(map, look.key), box.x, box.y + box.h - up, across, up);
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

  return { data, draw, edge, mapValues };
})();
