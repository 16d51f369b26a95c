"use strict";
(() => {
  const tip = document.getElementById("tip");
  const text = (tag, content) => {
    const node = document.createElement(tag);
    node.textContent = content;
    return node;
  };

  /* Curves: the nearest level's numbers at the pointer, or by arrow keys. */
  for (const panel of document.querySelectorAll("svg.panel")) {
    const data = JSON.parse(panel.dataset.panel);
    const cursor = panel.querySelector(".cursor");
    let at = data.x.length - 1;
    const show = (index, clientX, clientY) => {
      at = index;
      cursor.setAttribute("x1", data.x[index]);
      cursor.setAttribute("x2", data.x[index]);
      cursor.style.visibility = "visible";
      const shown = data.series
        .filter((one, i) => one.values[index] && !panel.querySelector(".s" + i).classList.contains("off"))
        .sort((a, b) => parseFloat(a.values[index][0]) - parseFloat(b.values[index][0]));
      const grid = document.createElement("div");
      for (const one of shown) {
        const [wer, low, high] = one.values[index];
        grid.append(text("span", one.label), text("em", wer), text("i", `[${low}, ${high}]`));
      }
      tip.replaceChildren(text("b", `WER % at ${data.levels[index]}`), grid);
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      tip.style.left = Math.max(8, Math.min(clientX + 16, innerWidth - box.width - 8)) + "px";
      const below = clientY + 18;
      tip.style.top = (below + box.height > innerHeight ? Math.max(8, clientY - box.height - 14) : below) + "px";
    };
    const hide = () => { tip.hidden = true; cursor.style.visibility = "hidden"; };
    const move = (event) => {
      const box = panel.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * panel.viewBox.baseVal.width;
      const gaps = data.x.map((one) => Math.abs(one - x));
      show(gaps.indexOf(Math.min(...gaps)), event.clientX, event.clientY);
    };
    panel.addEventListener("pointermove", move);
    panel.addEventListener("pointerdown", move);
    panel.addEventListener("pointerleave", hide);
    panel.addEventListener("blur", hide);
    panel.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      const next = Math.max(0, Math.min(data.x.length - 1, at + step));
      const box = panel.getBoundingClientRect();
      show(next, box.left + data.x[next] / panel.viewBox.baseVal.width * box.width, box.top + 40);
    });
  }

  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const group of document.querySelectorAll(".panel .s" + button.dataset.series)) group.classList.toggle("off", !on);
    });
  }

  /* Safari plays blobs but not data: films; elsewhere a blob seeks faster. */
  for (const media of document.querySelectorAll("video[src^='data:'], audio[src^='data:']")) {
    const [head, body] = media.src.split(",", 2);
    const bytes = Uint8Array.from(atob(body), (one) => one.charCodeAt(0));
    media.src = URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
  }

  /* Two films, one clock: the first leads, the others are pulled along. */
  for (const sample of document.querySelectorAll(".sample")) {
    const videos = [...sample.querySelectorAll("video")];
    const button = sample.querySelector(".play");
    if (!videos.length || !button) continue;
    const seek = sample.querySelector("input[type=range]");
    const clock = sample.querySelector("output");
    const sound = sample.querySelector("select");
    const lead = videos[0];
    let running = false;
    const length = () => Math.min(...videos.map((one) => one.duration || 0));
    const paint = () => {
      seek.value = length() ? String(lead.currentTime / length() * 1000) : "0";
      clock.textContent = `${lead.currentTime.toFixed(1)} / ${length().toFixed(1)} s`;
    };
    const follow = () => {
      for (const one of videos.slice(1)) {
        const ahead = one.currentTime - lead.currentTime;
        if (Math.abs(ahead) > 0.12) one.currentTime = lead.currentTime;
        one.playbackRate = Math.abs(ahead) < 0.01 ? 1 : Math.max(0.9, Math.min(1.1, 1 - 2 * ahead));
      }
      paint();
      if (running && (lead.ended || lead.currentTime >= length() - 0.01)) stop();
      if (running) requestAnimationFrame(follow);
    };
    const stop = () => {
      running = false;
      for (const one of videos) one.pause();
      button.textContent = "Play";
    };
    const start = async () => {
      document.dispatchEvent(new CustomEvent("sample-start", { detail: sample }));
      if (lead.currentTime >= length() - 0.05) lead.currentTime = 0;
      for (const one of videos) one.currentTime = lead.currentTime;
      running = true;
      button.textContent = "Pause";
      try {
        await Promise.all(videos.map((one) => one.play()));
      } catch (error) {
        if (error.name !== "AbortError") clock.textContent = "This browser refused to play: " + error.name;
        stop();
        return;
      }
      requestAnimationFrame(follow);
    };
    button.addEventListener("click", () => (running ? stop() : start()));
    document.addEventListener("sample-start", (event) => { if (event.detail !== sample && running) stop(); });
    seek.addEventListener("input", () => {
      for (const one of videos) one.currentTime = Number(seek.value) / 1000 * length();
      paint();
    });
    const listen = () => videos.forEach((one, i) => { one.muted = String(i) !== (sound ? sound.value : "0"); });
    if (sound) sound.addEventListener("change", listen);
    listen();
    for (const one of videos) one.addEventListener("loadedmetadata", paint);
  }
})();
