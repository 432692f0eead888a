// SPDX-License-Identifier: GPL-2.0
// What a cell stands for is said next to the pointer, or next to the cell that has the keyboard.
"use strict";
{
	const tip = document.getElementById("tip");
	const show = (cell, x, y) => {
		tip.textContent = cell.dataset.tip;
		tip.hidden = false;
		const box = tip.getBoundingClientRect();
		tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
		tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.height - 8))}px`;
	};
	const hide = () => { tip.hidden = true; };
	document.addEventListener("pointermove", (event) => {
		const cell = event.target.closest?.("[data-tip]");
		if (cell) show(cell, event.clientX, event.clientY);
		else hide();
	});
	document.addEventListener("focusin", (event) => {
		const cell = event.target.closest?.("[data-tip]");
		if (!cell) return hide();
		const box = cell.getBoundingClientRect();
		show(cell, box.right, box.bottom);
	});
	document.addEventListener("focusout", hide);
	document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
	// For a test that looks at the page as it is then.
	document.documentElement.dataset.script = "ran";
}
