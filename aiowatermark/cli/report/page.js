"use strict";
{
  const form = document.querySelector(".tools");
  const searched = (card) => [...card.querySelectorAll("h2, .note, .error")].map((part) => part.textContent);
  const cards = [...document.querySelectorAll(".card")].map((element) => ({
    element,
    status: element.dataset.status,
    provider: element.dataset.provider,
    text: [element.dataset.provider, ...searched(element)].join("\n").toLowerCase(),
  }));

  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/);
    const status = form.elements.status.value;
    const provider = form.elements.provider.value;
    let shown = 0;
    for (const card of cards) {
      const matches =
        (!status || card.status === status) &&
        (!provider || card.provider === provider) &&
        words.every((word) => card.text.includes(word));
      card.element.hidden = !matches;
      shown += matches;
    }
    form.querySelector(".count").value = `${shown} of ${cards.length} shown`;
    document.querySelector(".nothing").hidden = shown > 0;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(); // a browser that goes back restores what was typed

  const move = (picture, percent) => {
    const slider = picture.querySelector("input");
    slider.value = percent;
    picture.style.setProperty("--at", `${percent}%`);
  };
  const follow = (picture, event) => {
    const box = picture.getBoundingClientRect();
    move(picture, Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
  };
  const main = document.querySelector("main");
  main.addEventListener("input", (event) => move(event.target.closest(".compare"), event.target.value));
  main.addEventListener("pointerdown", (event) => {
    const picture = event.target.closest(".compare");
    if (!picture || event.button !== 0) return;
    event.preventDefault();
    picture.setPointerCapture(event.pointerId);
    picture.querySelector("input").focus({ preventScroll: true });
    follow(picture, event);
  });
  main.addEventListener("pointermove", (event) => {
    const picture = event.target.closest(".compare");
    if (picture?.hasPointerCapture(event.pointerId)) follow(picture, event);
  });
}
