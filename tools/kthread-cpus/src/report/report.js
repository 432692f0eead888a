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
		cell.setAttribute("role", "img");
		cell.setAttribute("aria-label", cell.dataset.tip);
		const box = cell.getBoundingClientRect();
		show(cell, box.right, box.bottom);
	});
	document.addEventListener("focusout", hide);
	document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
	// Tab goes from one map to the next, and arrows from cell to cell: there may be a thousand.
	for (const map of document.querySelectorAll("svg[role=group]")) {
		const cells = [...map.querySelectorAll("[data-tip]")];
		for (const cell of cells.slice(1)) cell.tabIndex = -1;
		const beside = (cell, down) => {
			const here = cell.getBoundingClientRect();
			let [found, least] = [undefined, Infinity];
			for (const other of cells) {
				const box = other.getBoundingClientRect();
				const rows = (box.bottom - here.bottom) * down;
				const far = rows * innerWidth * 4 + Math.abs(box.left - here.left);
				if (rows > 1 && far < least) [found, least] = [other, far];
			}
			return found;
		};
		map.addEventListener("keydown", (event) => {
			const at = cells.indexOf(event.target);
			const next = {
				ArrowLeft: () => cells[at - 1],
				ArrowRight: () => cells[at + 1],
				ArrowUp: () => beside(event.target, -1),
				ArrowDown: () => beside(event.target, 1),
				Home: () => cells[0],
				End: () => cells.at(-1),
			}[event.key];
			if (at < 0 || !next) return;
			event.preventDefault();
			const cell = next();
			if (!cell) return;
			cells[at].tabIndex = -1;
			cell.tabIndex = 0;
			cell.focus();
		});
	}
	// For a test that looks at the page as it is then.
	document.documentElement.dataset.script = "ran";
}
