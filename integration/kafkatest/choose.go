package kafkatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// makeNodes prepares the brokers of a layout without starting them. What must be undone at the end of the test is
// registered with t, also on an error.
type makeNodes func(ctx context.Context, t testing.TB, l layout) ([]node, error)

// choose decides what the brokers run on, or ends the test.
func choose(t testing.TB) makeNodes {
	t.Helper()
	switch wanted := os.Getenv("SIRA_KAFKA"); wanted {
	case "docker":
		if err := dockerAnswers(t.Context()); err != nil {
			t.Skipf("SIRA_KAFKA=docker, and no Docker engine answers: %v", err)
		}
		return newContainers
	case "", "jars":
		java, libs, err := findJars()
		if err == nil {
			return newProcesses(java, libs)
		}
		if wanted == "" && dockerAnswers(t.Context()) == nil {
			return newContainers
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("no Apache Kafka to test with: %v", err)
		}
		t.Skipf("no Apache Kafka to test with: %v", err)
	default:
		t.Fatalf("SIRA_KAFKA is %q; write jars, docker, or nothing", wanted)
	}
	return nil
}

// findJars returns the java to run and the folder of Kafka's jars.
func findJars() (java, libs string, err error) {
	name := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		name = filepath.Join(home, "bin", "java")
	}
	if java, err = exec.LookPath(name); err != nil {
		return "", "", fmt.Errorf("install Java 17 or newer, or set JAVA_HOME: %w", err)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", "", err
	}
	libs = filepath.Join(cache, "kafka", Version(), "libs")
	if _, err := os.Stat(libs); err != nil {
		return "", "", fmt.Errorf("run `make kafka` to fetch the jars: %w", err)
	}
	return java, libs, nil
}

// cacheDir returns the folder that .ci/fetch-kafka uses.
func cacheDir() (string, error) {
	if dir := os.Getenv("SIRA_CACHE"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "sira"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("looking for the cache folder: %w", err)
	}
	return filepath.Join(home, ".cache", "sira"), nil
}
