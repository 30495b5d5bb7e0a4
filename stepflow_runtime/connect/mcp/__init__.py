"""MCP servers as component servers: their tools are components.

A bridge in this process speaks the wire protocol to the supervisor, over a stream in memory, and MCP to the server. So
an MCP server is started, watched, cancelled and started again like any other, and nothing above knows the difference.
`origin` opens it, `bridge` translates, `lines` carries messages over stdio. Needs the extra `mcp`: who wants it imports
it when it is configured.
"""
