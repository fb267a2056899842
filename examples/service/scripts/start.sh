#!/bin/sh
echo "starting $APPLICATION_NAME in $LIFECYCLE_EVENT"
