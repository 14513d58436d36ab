package kafkatest

// FindJars is findJars for the tests outside the package.
var FindJars = findJars
