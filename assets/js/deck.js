// Several sounds of one length, played in step. All of them run; which is heard is only a matter of
// their gains, so a switch keeps the place and has no gap.
//
// Short sounds are decoded and run together to the sample. Long ones are streamed by the browser's
// media elements, in memory that does not grow with their length; those that are not heard are
// held in step with the one that is. Nothing here is part of the page, so a panel that is drawn
// anew finds its deck as it was.
(() => {
  const SHORT = 180; // seconds of all sounds together: 70 MB once decoded, at 48 kHz in stereo
  const FADE = 0.004; // seconds, so that no switch clicks
  const MOST = 20; // dB that a sound is turned down to be as loud as another
  const EVERY = 120; // milliseconds between two looks at how far it is
  const RELEASE = 3000; // milliseconds that a deck without a panel lives on

  let context = null; // browsers let a page have it only once a person has pressed something
  const sounding = () => {
    context ??= new AudioContext();
    if (context.state === "suspended") context.resume();
    return context;
  };

  // One sound at a time, over the whole page.
  const alone = (who) => window.dispatchEvent(new CustomEvent("ns-sound", { detail: who }));

  class Decoded {
    constructor(buffers) {
      this.buffers = buffers;
      this.duration = Math.min(...buffers.map((one) => one.duration));
      this.sources = [];
      this.from = this.when = 0;
    }

    get position() {
      if (!this.sources.length) return this.from;
      const at = this.from + Math.max(0, context.currentTime - this.when);
      const [start, end] = this.loop || [0, 0];
      return this.loop && at > end ? start + ((at - start) % (end - start)) : at;
    }

    async start(position, gains, loop) {
      this.stop();
      const now = sounding();
      if (now.state !== "running") await now.resume();
      this.from = position;
      this.loop = loop && position < loop[1] ? loop : null;
      this.when = now.currentTime + 0.01;
      this.sources = this.buffers.map((buffer, at) => {
        const source = new AudioBufferSourceNode(now, { buffer, loop: Boolean(this.loop) });
        if (this.loop) [source.loopStart, source.loopEnd] = this.loop;
        source.connect(gains[at]);
        source.start(this.when, position);
        return source;
      });
    }

    stop() {
      this.from = this.position;
      for (const source of this.sources) source.stop(), source.disconnect();
      this.sources = [];
    }

    seek(position) {
      this.from = position;
    }

    tend() {}
    close() { this.stop(); }
  }

  class Streamed {
    constructor(elements) {
      this.elements = elements;
      this.lead = elements[0];
      this.nodes = null;
    }

    get duration() { return this.elements[0].duration; }
    get position() { return this.lead.currentTime; }

    async start(position, gains) {
      const now = sounding();
      this.nodes ??= this.elements.map((element, at) => {
        const node = new MediaElementAudioSourceNode(now, { mediaElement: element });
        node.connect(gains[at]);
        return node;
      });
      this.seek(position);
      await Promise.all(this.elements.map((one) => one.play().catch(() => {})));
    }

    stop() {
      for (const one of this.elements) one.pause();
    }

    seek(position) {
      for (const one of this.elements)
        if (Math.abs(one.currentTime - position) > 0.01) one.currentTime = position;
    }

    // Those that are not heard catch up: by a jump when far off, else by their speed.
    tend(chosen) {
      this.lead = this.elements[chosen];
      this.lead.playbackRate = 1;
      const waiting = this.lead.readyState < 3 || this.lead.seeking;
      for (const one of this.elements) {
        if (one === this.lead || one.seeking) continue;
        if (waiting || this.lead.paused) {
          one.pause();
          continue;
        }
        if (one.paused && !one.ended) one.play().catch(() => {});
        const late = this.lead.currentTime - one.currentTime;
        if (Math.abs(late) > 0.15) one.currentTime = this.lead.currentTime;
        one.preservesPitch = false;
        one.playbackRate = Math.abs(late) < 0.001 ? 1 : Math.min(1.2, Math.max(0.8, 1 + 2 * late));
      }
    }

    close() {
      this.stop();
      for (const one of this.elements) one.removeAttribute("src"), one.load();
    }
  }

  class Deck extends EventTarget {
    static known = new Map();
    static equal = true; // kept from one result to the next, as which track is heard is

    // The deck of these sounds: [{ sound: URL, loudness: LUFS or null }].
    static of(tracks, chosen) {
      const key = tracks.map((one) => one.sound).join(" ");
      if (!Deck.known.has(key)) Deck.known.set(key, new Deck(key, tracks, chosen));
      return Deck.known.get(key);
    }

    constructor(key, tracks, chosen) {
      super();
      Object.assign(this, {
        key, tracks, chosen, playing: false, loop: null, together: null, error: "", users: 0 });
      this.at = 0;
      this.hush = (event) => event.detail !== this && this.pause();
      window.addEventListener("ns-sound", this.hush);
      this.load();
    }

    async load() {
      const elements = this.tracks.map(({ sound }) =>
        Object.assign(new Audio(), { preload: "metadata", src: sound }));
      try {
        await Promise.all(elements.map((one) => new Promise((resolve, reject) => {
          one.addEventListener("loadedmetadata", resolve, { once: true });
          one.addEventListener("error", reject, { once: true });
        })));
        const long = elements[0].duration * elements.length > SHORT;
        this.transport = long ? new Streamed(elements) : new Decoded(await decoded(this.tracks));
        if (!long) for (const one of elements) one.removeAttribute("src"), one.load();
      } catch {
        this.error = "This sound is no longer there, or this browser cannot play it. Run the job again, or download it.";
      }
      this.tell();
    }

    get ready() { return Boolean(this.transport); }
    get duration() { return this.transport?.duration || 0; }

    get position() {
      const at = this.playing && this.transport ? this.transport.position : this.at;
      return Math.min(at, this.duration || at);
    }

    // What each sound is turned down by, in dB, to be as loud as the softer one of the first two,
    // which are before and after. Nothing is turned up: full scale stays full scale. What is hardly
    // there at all does not make all others as quiet.
    get levels() {
      const known = this.tracks.map(({ loudness }) => loudness);
      const pair = known.slice(0, 2).filter((one) => one !== null);
      if (!Deck.equal || this.together || pair.length < 2) return known.map(() => 0);
      const level = Math.max(Math.min(...pair), Math.max(...pair) - MOST);
      return known.map((one) => (one === null ? 0 : Math.min(0, level - one)));
    }

    async play() {
      if (this.playing || !this.ready) return;
      alone(this);
      this.playing = true;
      if (this.at >= this.duration - 0.02) this.at = this.loop?.[0] ?? 0;
      this.gains ??= this.tracks.map(() => {
        const gain = new GainNode(sounding(), { gain: 0 });
        gain.connect(context.destination);
        return gain;
      });
      this.mix();
      clearInterval(this.timer);
      this.timer = setInterval(() => this.look(), EVERY);
      this.tell();
      await this.go();
    }

    async go() {
      this.starting = true;
      await this.transport.start(this.at, this.gains, this.loop);
      this.starting = false;
      if (!this.playing) this.transport.stop();
    }

    pause() {
      if (!this.playing) return;
      this.at = this.position;
      this.playing = false;
      clearInterval(this.timer);
      this.transport.stop();
      this.tell();
    }

    toggle() {
      return this.playing ? this.pause() : this.play();
    }

    seek(position) {
      this.at = Math.min(this.duration, Math.max(0, position));
      if (this.loop && (this.at < this.loop[0] || this.at >= this.loop[1])) this.loop = null;
      this.restart();
    }

    // Whether a sound is among those that are heard: one alone, or several together.
    hears(track) { return this.together ? this.together.has(track) : track === this.chosen; }

    // Hear several sounds at once from now on, first the one that is heard now; or one again.
    setTogether(on) {
      this.together = on ? new Set([this.chosen]) : null;
      this.mix();
      this.tell();
    }

    choose(track) {
      if (!this.tracks[track]) return;
      if (this.together && !this.together.delete(track)) this.together.add(track);
      this.chosen = track;
      this.mix();
      if (this.playing) this.transport.tend(track);
      this.tell();
    }

    setLoop(range) {
      this.at = this.position;
      this.loop = range && range[1] - range[0] >= 0.05 ? range : null;
      if (this.loop && (this.at < this.loop[0] || this.at >= this.loop[1])) this.at = this.loop[0];
      this.restart();
    }

    restart() {
      this.transport?.seek(this.at);
      if (this.playing) this.go();
      this.tell();
    }

    setEqual(on) {
      Deck.equal = on;
      for (const one of Deck.known.values()) one.mix(), one.tell();
    }

    mix() {
      this.gains?.forEach((gain, at) => {
        const level = this.hears(at) ? 10 ** (this.levels[at] / 20) : 0;
        gain.gain.setTargetAtTime(level, context.currentTime, FADE);
      });
    }

    look() {
      if (this.starting) return;
      this.transport.tend(this.chosen);
      const at = this.transport.position;
      if (this.loop && at >= this.loop[1]) this.seek(this.loop[0]);
      else if (at >= this.duration - 0.005) {
        this.pause();
        this.at = this.duration;
        this.tell();
      }
    }

    tell() {
      this.dispatchEvent(new Event("change"));
    }

    join() {
      this.users += 1;
    }

    // A panel that is drawn anew comes back at once; one that shows something else does not.
    leave() {
      this.users -= 1;
      setTimeout(() => {
        if (this.users || Deck.known.get(this.key) !== this) return;
        this.pause();
        this.transport?.close();
        window.removeEventListener("ns-sound", this.hush);
        Deck.known.delete(this.key);
      }, RELEASE);
    }
  }

  const decoded = (tracks) => {
    const offline = new OfflineAudioContext(1, 1, 48000);
    return Promise.all(tracks.map(async ({ sound }) => {
      const answer = await fetch(sound);
      if (!answer.ok) throw new Error(String(answer.status));
      return offline.decodeAudioData(await answer.arrayBuffer());
    }));
  };

  window.NoiseStudio.Deck = Deck;
  window.NoiseStudio.alone = alone;
})();
