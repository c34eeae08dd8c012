package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// byMetadata believes what the caller says: only a test may.
func byMetadata(ctx context.Context) (rolegate.Identity, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	user := md.Get("user")
	if len(user) != 1 {
		return rolegate.Identity{}, rolegate.ErrNobody
	}
	id, err := strconv.ParseInt(user[0], 10, 64)
	if err != nil {
		return rolegate.Identity{}, errors.New("the session store is away")
	}
	return rolegate.UserID(id), nil
}

func TestInterceptors(t *testing.T) {
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
			rolegate.Record{UserID: 2, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}},
			rolegate.Record{UserID: 3},
		),
		Aliases: []rolegate.Kind{rolegate.KindUserID}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer gate.Close()
	server := newServer(gate, byMetadata)
	listener := bufconn.Listen(1 << 16)
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()
	client, err := grpc.NewClient("passthrough:///school",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	school := healthpb.NewHealthClient(client)

	check := func(user string) codes.Code {
		ctx := t.Context()
		if user != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "user", user)
		}
		_, err := school.Check(ctx, &healthpb.HealthCheckRequest{})
		return status.Code(err)
	}
	watch := func(user string) codes.Code {
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "user", user))
		defer cancel()
		stream, err := school.Watch(ctx, &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		return status.Code(err)
	}
	assert.Equal(t, codes.OK, check("1"))
	assert.Equal(t, codes.OK, check("2"))
	assert.Equal(t, codes.PermissionDenied, check("3"))
	assert.Equal(t, codes.PermissionDenied, check("99"))
	assert.Equal(t, codes.Unauthenticated, check(""))
	assert.Equal(t, codes.Unauthenticated, check("0"))
	assert.Equal(t, codes.Internal, check("x"))
	assert.Equal(t, codes.OK, watch("2"))
	assert.Equal(t, codes.PermissionDenied, watch("1"))
	_, err = school.List(metadata.AppendToOutgoingContext(t.Context(), "user", "2"), &healthpb.HealthListRequest{})
	assert.Equal(t, codes.PermissionDenied, status.Code(err), "a method that nobody has thought of is closed")
	assert.Equal(t, uint64(3), gate.Status().Decisions[rolegate.ReasonGranted])
	assert.Equal(t, uint64(2), gate.Status().Decisions[rolegate.ReasonNoIdentity])

	require.NoError(t, gate.Close())
	assert.Equal(t, codes.Unavailable, check("1"))

	require.NoError(t, client.Close())
	server.Stop()
	require.NoError(t, <-served)
}
