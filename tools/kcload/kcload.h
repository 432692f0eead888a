/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KCLOAD_H
#define KCLOAD_H

int kcwork_init(void);
void kcwork_exit(void);

#endif
