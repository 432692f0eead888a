/* SPDX-License-Identifier: GPL-2.0 */
/* Questions that the gateway of QEMU's network answers, for a kernel without IP. */
#ifndef ARP_H
#define ARP_H

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

/* Asks QEMU's gateway for its address: its answer comes by an interrupt. */
struct question {
	struct ether_header ethernet;
	struct ether_arp arp;
	char padding[ETH_ZLEN - sizeof(struct ether_header) - sizeof(struct ether_arp)];
} __attribute__((packed));

/* Returns -1 with errno set. */
static int open_network(struct question *question)
{
	const struct timeval patience = { .tv_usec = 100000 };
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_ARP),
	};
	struct ifreq card = { .ifr_name = "eth0" };
	int network;

	*question = (struct question){
		.ethernet.ether_dhost = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		.ethernet.ether_type = htons(ETHERTYPE_ARP),
		.arp.ea_hdr = {
			.ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETHERTYPE_IP),
			.ar_hln = ETH_ALEN, .ar_pln = 4, .ar_op = htons(ARPOP_REQUEST),
		},
		.arp.arp_spa = { 10, 0, 2, 15 },
		.arp.arp_tpa = { 10, 0, 2, 2 },
	};
	network = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_ARP));
	if (network < 0 || ioctl(network, SIOCGIFFLAGS, &card))
		return -1;
	card.ifr_flags |= IFF_UP;
	if (ioctl(network, SIOCSIFFLAGS, &card) || ioctl(network, SIOCGIFHWADDR, &card))
		return -1;
	memcpy(question->ethernet.ether_shost, card.ifr_hwaddr.sa_data, ETH_ALEN);
	memcpy(question->arp.arp_sha, card.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(network, SIOCGIFINDEX, &card))
		return -1;
	address.sll_ifindex = card.ifr_ifindex;
	if (bind(network, (struct sockaddr *)&address, sizeof(address)) ||
	    setsockopt(network, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		return -1;
	return network;
}

/* Returns how many answers came: what gets lost does not matter, as long as there are some. */
static unsigned int ask_gateway(int network, const struct question *question, int frames)
{
	unsigned int answers = 0;
	struct question answer;
	int i;

	for (i = 0; i < frames; i++)
		send(network, question, sizeof(*question), 0);
	for (i = 0; i < frames; i++) {
		if (recv(network, &answer, sizeof(answer), 0) < 0)
			break;
		answers += answer.arp.ea_hdr.ar_op == htons(ARPOP_REPLY);
	}
	return answers;
}

#endif
