// Package ipfilter decides by ordered rules which addresses may reach the hub.
// The first rule whose network holds the address decides; an address that none
// holds is accepted. It knows addresses of connections only: what a header says
// of other addresses is never looked at.
package ipfilter
